/* Running a program with no Python frame below it. */
#ifndef FLOR_RUN_MAIN_H
#define FLOR_RUN_MAIN_H

#include "compat.h"

PyObject *flor_run_main(PyObject *module, PyObject *args);

#endif
