/* Reading and writing generators that stand at a `yield`. */
#ifndef FLOR_GENERATORS_H
#define FLOR_GENERATORS_H

#include <Python.h>

PyObject *flor_read_generator(PyObject *module, PyObject *generator);
PyObject *flor_write_generator(PyObject *module, PyObject *args);

#endif
