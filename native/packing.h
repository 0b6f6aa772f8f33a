/* What the files of the packer share. */
#ifndef FLOR_PACKING_H
#define FLOR_PACKING_H

#include "pack.h"

/* Containers further down are left to the caller. */
enum { FLOR_DEEPEST = 64 };
/* What writing a value can come to, beside 0 for success and -1 for an exception. */
enum { GIVE_UP = 1, IN_TUPLE = 2 };

typedef struct {
    PyObject_HEAD
    PyTypeObject *memo_type;
    PyObject *ids, *prefixes, *ignored;
    PyObject *held; /* the parts, so that no other object comes to lie where they are */
    FlorTable parts;
    long long packed;
} FlorPacker;

typedef struct {
    PyObject *key; /* NULL: the index */
    Py_ssize_t index;
} FlorStep;

typedef struct {
    FlorPacker *packer;
    unsigned char *data;
    size_t used, size;
    FlorTable local;
    PyObject **met; /* the mutable containers below the root */
    Py_ssize_t parts, room, objects, escaped;
    PyObject *escapes, *paths;
    FlorStep steps[FLOR_DEEPEST];
    int depth, tuples;
    PyObject *fine[64]; /* keys that were looked at and are neither ignored nor moved */
} FlorWriter;

/* Make room for so many more bytes; -1 with an exception. */
int flor_room_for(FlorWriter *w, size_t more);
/* Append a number as LEB128, for which there is room. */
void flor_put_number(FlorWriter *w, unsigned long long number);
int flor_put_tagged(FlorWriter *w, char tag, unsigned long long number);
/* Set something aside for the caller. */
int flor_escape(FlorWriter *w, PyObject *value);
/* Whether the text begins with a path that may move, and so is saved in another way. */
int flor_moves(const FlorWriter *w, PyObject *text);
int flor_write_text(FlorWriter *w, PyObject *text);
int flor_write_scalar(FlorWriter *w, PyObject *value);
/* 'd' when all are floats, 'q' when all are ints of 64 bits, else 0. */
char flor_array_code(PyObject *const *items, Py_ssize_t length);
void flor_fill_array(unsigned char *out, char code, PyObject *const *items, Py_ssize_t length);
/* Whether another part of the walk has met the object; -1 with an exception. */
int flor_is_known(FlorPacker *packer, PyObject *object);
int flor_write_root(FlorWriter *w, PyObject *root);

#endif
