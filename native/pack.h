/* Plain containers and what they hold, as bytes. */
#ifndef FLOR_PACK_H
#define FLOR_PACK_H

#include "compat.h"

/* Object to number: open addressing, nothing is ever taken out. */
typedef struct {
    PyObject **keys;
    long long *values;
    size_t size, used; /* size: 0 or a power of two */
} FlorTable;

int flor_table_set(FlorTable *table, PyObject *key, long long value);
/* The number, or -1. */
long long flor_table_get(const FlorTable *table, PyObject *key);
void flor_table_free(FlorTable *table);

/* What a container looked like: enough to tell, without reading its parts, that none changed. */
typedef struct {
    PyObject *object;  /* borrowed: kept alive by the part that holds it, as long as that is equal */
    uint64_t version;  /* of a dict */
    Py_ssize_t length; /* of a list */
    PyObject **items;  /* of a list, with references of our own; NULL for a dict */
} FlorPart;

typedef struct {
    PyObject_HEAD
    FlorPart *parts; /* the first is the root; parents come before what they hold */
    Py_ssize_t count, size;
} FlorMemo;

FlorMemo *flor_memo_new(PyTypeObject *type);
/* Add a list or a dict; 0, 1 when it cannot be remembered, -1 with an exception. */
int flor_memo_add(FlorMemo *memo, PyObject *container);
/* Whether the root and everything below is what it was. */
int flor_memo_holds(const FlorMemo *memo, PyObject *root);

int flor_add_pack(PyObject *module);

extern PyType_Spec flor_packer_spec, flor_memo_spec;

#endif
