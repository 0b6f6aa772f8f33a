/* Reading the variables of frames of the current thread. */
#ifndef FLOR_FRAMES_H
#define FLOR_FRAMES_H

#include "compat.h"

/* Whether `frame` is on the current thread's stack and still runs `code`. */
int flor_frame_is_running(FlorFrame *frame, PyCodeObject *code);
/* The values of `names` (a tuple of str), `unbound` for those without one. */
PyObject *flor_frame_lookup(FlorFrame *frame, PyObject *names, PyObject *unbound);
/* The bound variables in a new dict. */
PyObject *flor_frame_locals(FlorFrame *frame);

/* Where a variable is among the fast locals of `code`, or -1. */
Py_ssize_t flor_variable_named(PyCodeObject *code, PyObject *name);
/* The value of the variable at `index` by that function, or of that name where there are no fast
   locals: borrowed, or NULL without an exception when it is unbound. */
PyObject *flor_value_at(FlorFrame *frame, PyCodeObject *code, Py_ssize_t index, PyObject *name);

/* Where on the stack of a running frame an object lies that is nowhere else in it, or NULL. */
PyObject **flor_frame_slot(FlorFrame *frame, PyObject *object);

PyObject *flor_frames(PyObject *module, PyObject *filenames);

#endif
