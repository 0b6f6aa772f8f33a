/* Callables that stand in for a function and add no Python frame. */
#ifndef FLOR_WRAPPERS_H
#define FLOR_WRAPPERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Add the types `AfterExec` and `Before`; 0, or -1 with an exception set. */
int flor_add_wrappers(PyObject *module);

#endif
