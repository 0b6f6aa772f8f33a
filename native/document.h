/* The nodes of a state graph as JSON. */
#ifndef FLOR_DOCUMENT_H
#define FLOR_DOCUMENT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Add `encode_nodes`; 0, or -1 with an exception set. */
int flor_add_document(PyObject *module);

#endif
