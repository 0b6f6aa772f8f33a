/* What a handler can ask of a running loop, and the type that offers it. */
#include "frames.h"
#include "loops.h"

#include <stddef.h>
#include <structmember.h> /* after Python.h, which it needs before 3.12 */

static FlorFrame *
running_frame(LoopIter *self)
{
    if (self->frame != NULL && flor_frame_is_running(self->frame, self->code)) {
        return self->frame;
    }
    return NULL;
}

FlorFrame *
flor_loop_frame(FlorState *state, PyObject *op)
{
    if (!Py_IS_TYPE(op, state->loop_type)) {
        PyErr_Format(PyExc_TypeError, "a LoopIter is needed, not %.80s", Py_TYPE(op)->tp_name);
        return NULL;
    }
    return running_frame((LoopIter *)op);
}

static PyObject *
loop_lookup(PyObject *op, PyObject *names)
{
    LoopIter *self = (LoopIter *)op;
    if (!PyTuple_CheckExact(names)) {
        PyErr_Format(PyExc_TypeError, "lookup() needs a tuple of str, not %.80s",
                     Py_TYPE(names)->tp_name);
        return NULL;
    }
    return flor_frame_lookup(running_frame(self), names, self->site->state->unbound);
}

static PyObject *
loop_locals(PyObject *op, PyObject *Py_UNUSED(unused))
{
    FlorFrame *frame = running_frame((LoopIter *)op);
    return frame == NULL ? Py_NewRef(Py_None) : flor_frame_locals(frame);
}

static PyObject *
loop_globals(PyObject *op, PyObject *Py_UNUSED(unused))
{
    FlorFrame *frame = running_frame((LoopIter *)op);
    return Py_NewRef(frame == NULL ? Py_None : frame->f_globals);
}

static PyObject *
loop_code(PyObject *op, PyObject *Py_UNUSED(unused))
{
    FlorFrame *frame = running_frame((LoopIter *)op);
    return Py_NewRef(frame == NULL ? Py_None : (PyObject *)flor_frame_code(frame));
}

static PyObject *
loop_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<LoopIter in iteration %lld>", ((LoopIter *)op)->n - 1);
}

static PyObject *
get_n(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(((LoopIter *)op)->n);
}

static int
set_n(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    LoopIter *self = (LoopIter *)op;
    if (value == NULL || !PyLong_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "n must be an int");
        return -1;
    }
    long long n = PyLong_AsLongLong(value);
    if (n == -1 && PyErr_Occurred()) {
        return -1;
    }
    self->offset += n - self->n;
    self->n = n;
    return 0;
}

static PyObject *
get_quiet(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((LoopIter *)op)->quiet);
}

static int
set_quiet(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    LoopIter *self = (LoopIter *)op;
    if (value == NULL || !PyBool_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "quiet must be a bool");
        return -1;
    }
    self->quiet = value == Py_True;
    self->loud = self->life == FLOR_LIVE && !self->quiet;
    return 0;
}

/* Only of the iterators whose length hint is C code of the interpreter itself. */
static PyObject *
get_expected(PyObject *op, void *Py_UNUSED(closure))
{
    LoopIter *self = (LoopIter *)op;
    PyObject *inner = self->inner;
    if (inner == NULL
        || !(Py_IS_TYPE(inner, &PyRangeIter_Type) || Py_IS_TYPE(inner, &PyListIter_Type)
             || Py_IS_TYPE(inner, &PyTupleIter_Type))) {
        return PyLong_FromLong(-1);
    }
    Py_ssize_t remaining = PyObject_LengthHint(inner, -1);
    if (remaining < 0) {
        return remaining == -1 && !PyErr_Occurred() ? PyLong_FromLong(-1) : NULL;
    }
    return PyLong_FromLongLong(remaining + self->n - self->offset);
}

static PyObject *
get_rows(PyObject *op, void *Py_UNUSED(closure))
{
    LoopIter *self = (LoopIter *)op;
    return Py_NewRef(self->rows == NULL ? Py_None : (PyObject *)self->rows);
}

static int
set_rows(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    LoopIter *self = (LoopIter *)op;
    if (value == NULL || !(value == Py_None || Py_IS_TYPE(value, self->site->state->columns_type))) {
        PyErr_SetString(PyExc_TypeError, "rows must be Columns or None");
        return -1;
    }
    Py_XSETREF(self->rows, value == Py_None ? NULL : (Columns *)Py_NewRef(value));
    return 0;
}

static PyMethodDef methods[] = {
    {"lookup", loop_lookup, METH_O,
     PyDoc_STR("lookup($self, names, /)\n--\n\n"
               "The values of these variables of the loop's frame; UNBOUND for those without.")},
    {"locals", loop_locals, METH_NOARGS,
     PyDoc_STR("locals($self, /)\n--\n\n"
               "The bound variables of the loop's frame in a new dict; None when it is not "
               "running.")},
    {"globals", loop_globals, METH_NOARGS,
     PyDoc_STR("globals($self, /)\n--\n\n"
               "The globals of the loop's frame; None when it is not running.")},
    {"code", loop_code, METH_NOARGS,
     PyDoc_STR("code($self, /)\n--\n\n"
               "The code of the loop's frame; None when it is not running.")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"site", T_OBJECT_EX, offsetof(LoopIter, site), READONLY,
     PyDoc_STR("The site whose loop this is.")},
    {"tag", T_OBJECT, offsetof(LoopIter, tag), 0,
     PyDoc_STR("Whatever the handler wants to keep here.")},
    {NULL, 0, 0, 0, NULL},
};

/* While pending, `inner` is still the iterable, and so it is here. */
static PyObject *
get_iterator(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *inner = ((LoopIter *)op)->inner;
    return Py_NewRef(inner == NULL ? Py_None : inner);
}

static PyGetSetDef computed[] = {
    {"n", get_n, set_n, PyDoc_STR("How many iterations have begun."), NULL},
    {"quiet", get_quiet, set_quiet, PyDoc_STR("Whether nothing of it is reported any more."), NULL},
    {"rows", get_rows, set_rows,
     PyDoc_STR("Columns that every boundary fills, mostly without a call of the handler; or None."),
     NULL},
    {"expected", get_expected, NULL,
     PyDoc_STR("How many items there are in all, or -1 when that cannot be known."), NULL},
    {"iterator", get_iterator, NULL, PyDoc_STR("What a `for` loop draws from, or None."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(doc, "One execution of a loop; made by `Site` only.\n\n"
                  "For `while`, `~loop` begins an iteration and `-loop` says that the condition "
                  "was false.");

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)doc},
    {Py_tp_dealloc, flor_loop_dealloc},
    {Py_tp_finalize, flor_loop_finalize},
    {Py_tp_traverse, flor_loop_traverse},
    {Py_tp_clear, flor_loop_clear},
    {Py_tp_repr, loop_repr},
    {Py_tp_iter, flor_loop_iter},
    {Py_tp_iternext, flor_loop_next},
    {Py_nb_invert, flor_loop_tick},
    {Py_nb_negative, flor_loop_exit},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, computed},
    {0, NULL},
};

PyType_Spec flor_loop_spec = {
    .name = "flor_trace._speedups.LoopIter",
    .basicsize = sizeof(LoopIter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
