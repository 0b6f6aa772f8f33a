/* Who hears of loops, and which of them the calling thread is in. */
#include "frames.h"
#include "loops.h"

PyObject *
flor_set_handler(PyObject *module, PyObject *args)
{
    FlorState *state = flor_state(module);
    PyObject *boundary, *leave;
    if (!PyArg_ParseTuple(args, "OO:set_handler", &boundary, &leave)) {
        return NULL;
    }
    int clears = boundary == Py_None && leave == Py_None;
    if (!clears && !(PyCallable_Check(boundary) && PyCallable_Check(leave))) {
        PyErr_SetString(PyExc_TypeError, "set_handler() needs two callables, or None twice");
        return NULL;
    }
    state->handler++;
    Py_XSETREF(state->boundary, clears ? NULL : Py_NewRef(boundary));
    Py_XSETREF(state->leave, clears ? NULL : Py_NewRef(leave));
    Py_RETURN_NONE;
}

/* The newest loop comes first within a frame, and the innermost frame first, until reversed. */
PyObject *
flor_running(PyObject *module, PyObject *Py_UNUSED(unused))
{
    FlorLink *head = &flor_state(module)->loops;
    PyObject *found = PyList_New(0);
    if (found == NULL || head->next == head) {
        return found;
    }
    FlorFrame *frame = flor_top_frame(flor_thread());
    for (; frame != NULL; frame = frame->previous) {
        for (FlorLink *each = head->previous; each != head; each = each->previous) {
            LoopIter *loop = flor_of_link(each);
            if (loop->frame == frame && flor_frame_is_complete(frame)
                && flor_frame_code(frame) == loop->code
                && PyList_Append(found, (PyObject *)loop) < 0) {
                Py_DECREF(found);
                return NULL;
            }
        }
    }
    if (PyList_Reverse(found) < 0) {
        Py_CLEAR(found);
    }
    return found;
}
