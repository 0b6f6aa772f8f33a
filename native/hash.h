/* The hash functions of the extension module, and live memory as a leaf of a state graph. */
#ifndef FLOR_HASH_H
#define FLOR_HASH_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "xxh3.h"

/* Read-only bytes of live memory that `owner` keeps where they are. */
typedef struct {
    PyObject_HEAD
    PyObject *owner;
    const void *data;
    Py_ssize_t length;
} FlorSpan;

extern PyType_Spec flor_span_spec;

/* A new span of `type`, or NULL with an exception set. */
PyObject *flor_span_new(
    PyTypeObject *type, PyObject *owner, const void *data, Py_ssize_t length);

/* Below this many bytes, letting another thread run costs more than it gives. */
#define FLOR_RELEASE_FROM 100000

/* Buffers that were taken, as views to give back and as bytes to hash, and the hashes. */
typedef struct {
    Py_ssize_t count, held;
    size_t total;
    Py_buffer *views; /* the first `held` of them; spans need none */
    FlorBytes *bytes;
    unsigned char (*digests)[FLOR_DIGEST_SIZE];
} FlorGathered;

/* Make room for `count` buffers, and take them from a tuple of their exporters; 0, or -1 with an
   exception set. In either case `flor_gather_end` gives back what was taken, and the `digests` are
   the caller's to free. */
int flor_gather_room(FlorGathered *all, Py_ssize_t count);
int flor_gather(FlorGathered *all, PyObject *exporters, PyTypeObject *span_type);
void flor_gather_end(FlorGathered *all);
PyObject *flor_digest_list(const FlorGathered *all);

/* Add `stage` and what else memory for copies needs; 0, or -1 with an exception set. */
int flor_add_stage(PyObject *module);

/* Add `digest` and `digest_many`; 0, or -1 with an exception set. */
int flor_add_hash(PyObject *module);

#endif
