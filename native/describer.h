/* Describer, which writes what the digest of a root is made of. */
#ifndef FLOR_DESCRIBER_H
#define FLOR_DESCRIBER_H

#include "nodes.h"

enum { FLOR_WRITTEN = 256, PLAIN_MARSHAL = 2 };

/* What the caller hands over; borrowed from a tuple that is held. */
enum {
    NODE_LIST, TYPE_OF_NODES, ID_TYPE, BY_VALUE, PAIRED, COUNTS_AS, IGNORE, DIGESTS, MET, OWNERS,
    TOKEN, LEAF_TOKEN, DESCRIBE, GIVEN
};

/* An object that many nodes share, as it is written. */
typedef struct {
    PyObject *object;
    PyObject *bytes;
    int ignored; /* whether names are among those to be ignored */
} FlorWritten;

typedef struct {
    PyObject_HEAD
    FlorNodes nodes;
    PyObject *given, *parts[GIVEN];
    PyObject *tokens, *order; /* of the root at hand, borrowed */
    unsigned char *data;
    size_t used, size;
    Py_ssize_t items;
    FlorWritten written[FLOR_WRITTEN];
} FlorDescriber;

/* Append a tag, a number of four bytes, and bytes; 0, or -1 with an exception, as all of these. */
int flor_marshal_tagged(
    FlorDescriber *d, char tag, Py_ssize_t number, const void *bytes, size_t count);
void flor_marshal_long(unsigned char *at, Py_ssize_t value);
/* Any value, as an item of the list. */
int flor_marshal_value(FlorDescriber *d, PyObject *value);
int flor_describe(FlorDescriber *d, PyObject *at, PyObject *node, PyObject *vague);

/* Add `Describer`; 0, or -1 with an exception set. */
int flor_add_describer(PyObject *module);

#endif
