/* The hash functions of the extension module, and live memory as a leaf of a state graph. */
#ifndef FLOR_HASH_H
#define FLOR_HASH_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

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

/* Add `digest` and `digest_many`; 0, or -1 with an exception set. */
int flor_add_hash(PyObject *module);

#endif
