/* The hash functions of the extension module. */
#ifndef FLOR_HASH_H
#define FLOR_HASH_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Add `digest` and `digest_many`; 0, or -1 with an exception set. */
int flor_add_hash(PyObject *module);

#endif
