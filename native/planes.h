/* Byte planes of numbers, and how much there is to code in each. */
#ifndef FLOR_PLANES_H
#define FLOR_PLANES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Add what samples, splits and joins planes; 0, or -1 with an exception set. */
int flor_add_planes(PyObject *module);

#endif
