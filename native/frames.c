/* Reads variables where the interpreter keeps them: no frame object is made, no dict refreshed. */
#include "frames.h"
#include "loops.h"

int
flor_frame_is_running(FlorFrame *frame, PyCodeObject *code)
{
    FlorFrame *each = flor_top_frame(flor_thread());
    while (each != NULL && each != frame) {
        each = each->previous;
    }
    return each != NULL && flor_frame_is_complete(each) && flor_frame_code(each) == code;
}

static inline Py_ssize_t
variables(PyCodeObject *code)
{
    return PyTuple_GET_SIZE(code->co_localsplusnames);
}

static inline int
kind(PyCodeObject *code, Py_ssize_t index)
{
    return (unsigned char)PyBytes_AS_STRING(code->co_localspluskinds)[index];
}

static inline int
has_fast_locals(PyCodeObject *code)
{
    return code->co_flags & CO_OPTIMIZED;
}

/* Borrowed, or NULL for an unbound variable. */
static PyObject *
variable(FlorFrame *frame, PyCodeObject *code, Py_ssize_t index)
{
    PyObject *value = frame->localsplus[index];
    if (value != NULL && kind(code, index) & (CO_FAST_CELL | CO_FAST_FREE) && PyCell_Check(value)) {
        return PyCell_GET(value);
    }
    return value;
}

PyObject **
flor_frame_slot(FlorFrame *frame, PyObject *object)
{
    PyCodeObject *code = flor_frame_code(frame);
    PyObject **slot = frame->localsplus + code->co_nlocalsplus;
    /* Slots above the top of the stack hold what was there before: the lowest match is live. */
    for (PyObject **end = slot + code->co_stacksize; slot < end; slot++) {
        if (*slot == object) {
            return slot;
        }
    }
    return NULL;
}

/* Where `name` is among the fast locals, or -1.  The names of a code object are interned, so that
   identity decides unless the caller's is not. */
Py_ssize_t
flor_variable_named(PyCodeObject *code, PyObject *name)
{
    PyObject *names = code->co_localsplusnames;
    for (Py_ssize_t i = 0; i < variables(code); i++) {
        if (PyTuple_GET_ITEM(names, i) == name && !(kind(code, i) & CO_FAST_HIDDEN)) {
            return i;
        }
    }
    if (PyUnicode_CHECK_INTERNED(name)) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < variables(code); i++) {
        PyObject *each = PyTuple_GET_ITEM(names, i);
        if (PyUnicode_Compare(each, name) == 0 && !(kind(code, i) & CO_FAST_HIDDEN)) {
            return i;
        }
    }
    return -1;
}

PyObject *
flor_value_at(FlorFrame *frame, PyCodeObject *code, Py_ssize_t index, PyObject *name)
{
    if (has_fast_locals(code)) {
        return index < 0 ? NULL : variable(frame, code, index);
    }
    /* A mapping that is not a dict could only be asked by running the program's own code. */
    if (frame->f_locals == NULL || !PyDict_Check(frame->f_locals)) {
        return NULL;
    }
    return PyDict_GetItemWithError(frame->f_locals, name);
}

PyObject *
flor_frame_lookup(FlorFrame *frame, PyObject *names, PyObject *unbound)
{
    PyObject *values = PyTuple_New(PyTuple_GET_SIZE(names));
    if (values == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i), *value = NULL;
        if (!PyUnicode_CheckExact(name)) {
            PyErr_Format(PyExc_TypeError, "lookup() needs a tuple of str, and item %zd is %.80s",
                         i, Py_TYPE(name)->tp_name);
            goto error;
        }
        if (frame != NULL) {
            PyCodeObject *code = flor_frame_code(frame);
            value = flor_value_at(frame, code, flor_variable_named(code, name), name);
            if (value == NULL && PyErr_Occurred()) {
                goto error;
            }
        }
        PyTuple_SET_ITEM(values, i, Py_NewRef(value != NULL ? value : unbound));
    }
    return values;
error:
    Py_DECREF(values);
    return NULL;
}

PyObject *
flor_frame_locals(FlorFrame *frame)
{
    PyCodeObject *code = flor_frame_code(frame);
    PyObject *bound = PyDict_New();
    if (bound == NULL) {
        return NULL;
    }
    if (!has_fast_locals(code)) {
        if (frame->f_locals != NULL && PyDict_Check(frame->f_locals)
            && PyDict_Update(bound, frame->f_locals) < 0) {
            goto error;
        }
        return bound;
    }
    for (Py_ssize_t i = 0; i < variables(code); i++) {
        PyObject *value = kind(code, i) & CO_FAST_HIDDEN ? NULL : variable(frame, code, i);
        if (value != NULL
            && PyDict_SetItem(bound, PyTuple_GET_ITEM(code->co_localsplusnames, i), value) < 0) {
            goto error;
        }
    }
    return bound;
error:
    Py_DECREF(bound);
    return NULL;
}

/* A new dict of the cells that the frame holds, its own and those of the functions around it. */
static PyObject *
cells(FlorFrame *frame)
{
    PyCodeObject *code = flor_frame_code(frame);
    PyObject *found = PyDict_New();
    if (found == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < variables(code); i++) {
        PyObject *cell = frame->localsplus[i];
        if (cell != NULL && kind(code, i) & (CO_FAST_CELL | CO_FAST_FREE) && PyCell_Check(cell)
            && PyDict_SetItem(found, PyTuple_GET_ITEM(code->co_localsplusnames, i), cell) < 0) {
            Py_DECREF(found);
            return NULL;
        }
    }
    return found;
}

static int
append_frame(PyObject *list, FlorFrame *frame)
{
    int status = -1;
    PyObject *bound = flor_frame_locals(frame);
    PyObject *held = bound == NULL ? NULL : cells(frame);
    PyObject *row = NULL;
    if (held != NULL) {
        row = PyTuple_Pack(4, (PyObject *)flor_frame_code(frame), frame->f_globals, bound, held);
    }
    if (row != NULL) {
        status = PyList_Append(list, row);
    }
    Py_XDECREF(bound);
    Py_XDECREF(held);
    Py_XDECREF(row);
    return status;
}

PyObject *
flor_frames(PyObject *Py_UNUSED(module), PyObject *filenames)
{
    if (!PyAnySet_CheckExact(filenames)) {
        PyErr_Format(PyExc_TypeError, "frames() needs a set or frozenset of file names, not %.80s",
                     Py_TYPE(filenames)->tp_name);
        return NULL;
    }
    PyObject *list = PyList_New(0);
    if (list == NULL) {
        return NULL;
    }
    FlorFrame *frame = flor_top_frame(flor_thread());
    for (; frame != NULL; frame = frame->previous) {
        if (!flor_frame_is_complete(frame)) {
            continue;
        }
        int wanted = PySet_Contains(filenames, flor_frame_code(frame)->co_filename);
        if (wanted < 0 || (wanted && append_frame(list, frame) < 0)) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}
