/* The type that gives the columns of a loop to Python. */
#include "loops.h"

#include <stddef.h>
#include <structmember.h> /* after Python.h, which it needs before 3.12 */

static PyObject *
cell_value(const FlorColumn *column, Py_ssize_t row)
{
    switch (column->kinds[row]) {
    case REAL:
        return PyFloat_FromDouble(column->cells[row].real);
    case WHOLE:
        return PyLong_FromLongLong(column->cells[row].whole);
    case TRUTH:
        return PyBool_FromLong((long)column->cells[row].whole);
    case OTHER:
        return Py_NewRef(PyList_GET_ITEM(column->others, column->cells[row].whole));
    default:
        return Py_NewRef(Py_None);
    }
}

static PyObject *
as_list(const FlorColumn *column, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t row = 0; list != NULL && row < count; row++) {
        PyObject *value = cell_value(column, row);
        if (value == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, row, value);
    }
    return list;
}

/* All cells have the one kind `kind`. */
static int
uniform(const FlorColumn *column, Py_ssize_t count, int kind)
{
    return column->seen == kind && memchr(column->kinds, ABSENT, count) == NULL;
}

/* The difference of neighbours if that is the same everywhere and cannot overflow, else 0. */
static long long
step(const FlorColumn *column, Py_ssize_t count)
{
    const long long bound = 1LL << 52;
    long long first = column->cells[0].whole, by = 0;
    for (Py_ssize_t row = 0; row < count; row++) {
        long long whole = column->cells[row].whole;
        if (whole > bound || whole < -bound) {
            return 0;
        }
        if (row == 1) {
            by = whole - first;
        }
        if (row >= 1 && whole != first + row * by) {
            return 0;
        }
    }
    return by;
}

static PyObject *
packed(const FlorColumn *column, Py_ssize_t count)
{
    if (PY_BIG_ENDIAN) {
        return as_list(column, count); /* the bytes are little-endian wherever they are read */
    }
    const char *bytes = (const char *)column->cells;
    if (uniform(column, count, REAL)) {
        return Py_BuildValue("sy#", "f8", bytes, count * (Py_ssize_t)sizeof(Cell));
    }
    if (uniform(column, count, WHOLE)) {
        long long by = step(column, count);
        if (by != 0) {
            return Py_BuildValue("s(LL)", "range", column->cells[0].whole, by);
        }
        return Py_BuildValue("sy#", "i8", bytes, count * (Py_ssize_t)sizeof(Cell));
    }
    return as_list(column, count);
}

static void
empty(Columns *self)
{
    self->count = 0;
    for (Py_ssize_t i = 0; i < flor_width(self); i++) {
        self->columns[i].seen = 0;
        Py_CLEAR(self->columns[i].others);
    }
}

static PyObject *
columns_take(PyObject *op, PyObject *argument)
{
    Columns *self = (Columns *)op;
    Py_ssize_t from = PyNumber_AsSsize_t(argument, PyExc_OverflowError);
    if (from == -1 && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *taken = PyList_New(flor_width(self));
    for (Py_ssize_t i = 0; taken != NULL && i < flor_width(self); i++) {
        const FlorColumn *column = &self->columns[i];
        PyObject *item;
        if (column->seen == 0) {
            item = Py_NewRef(Py_None);
        }
        else {
            item = self->count < from || self->count < 2 ? as_list(column, self->count)
                                                         : packed(column, self->count);
        }
        if (item == NULL) {
            Py_CLEAR(taken);
            break;
        }
        PyList_SET_ITEM(taken, i, item);
    }
    if (taken != NULL) {
        empty(self);
    }
    return taken;
}

static PyObject *
columns_add(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    Columns *self = (Columns *)op;
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "add() takes a loop and an iteration, not %zd arguments",
                     nargs);
        return NULL;
    }
    long long iteration = PyLong_AsLongLong(args[1]);
    if (iteration == -1 && PyErr_Occurred()) {
        return NULL;
    }
    FlorFrame *frame = flor_loop_frame(PyType_GetModuleState(Py_TYPE(op)), args[0]);
    if (frame == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "the loop's frame is not running");
        }
        return NULL;
    }
    if (self->count > 0 && self->first + self->count != iteration) {
        PyErr_Format(PyExc_ValueError, "row %lld does not follow %zd rows from %lld on", iteration,
                     self->count, self->first);
        return NULL;
    }
    if (flor_columns_add(self, frame, iteration) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
columns_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *accepted[] = {"names", "read", NULL};
    PyObject *names, *read;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O:Columns", accepted, &PyTuple_Type, &names,
                                     &read)) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        if (!PyUnicode_CheckExact(PyTuple_GET_ITEM(names, i))) {
            PyErr_Format(PyExc_TypeError, "Columns() needs a tuple of str, and item %zd is %.80s",
                         i, Py_TYPE(PyTuple_GET_ITEM(names, i))->tp_name);
            return NULL;
        }
    }
    Columns *self = (Columns *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->names = Py_NewRef(names);
    self->read = Py_NewRef(read);
    self->columns = PyMem_Calloc(PyTuple_GET_SIZE(names) + 1, sizeof(FlorColumn));
    if (self->columns == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < flor_width(self); i++) {
        self->columns[i].name = PyTuple_GET_ITEM(names, i);
    }
    return (PyObject *)self;
}

static int
columns_traverse(PyObject *op, visitproc visit, void *arg)
{
    Columns *self = (Columns *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->names);
    Py_VISIT(self->read);
    for (Py_ssize_t i = 0; self->columns != NULL && i < flor_width(self); i++) {
        Py_VISIT(self->columns[i].never);
        Py_VISIT(self->columns[i].others);
    }
    return 0;
}

static int
columns_clear(PyObject *op)
{
    Columns *self = (Columns *)op;
    for (Py_ssize_t i = 0; self->columns != NULL && i < flor_width(self); i++) {
        Py_CLEAR(self->columns[i].never);
    }
    Py_CLEAR(self->read);
    return 0;
}

static void
columns_dealloc(PyObject *op)
{
    Columns *self = (Columns *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    columns_clear(op);
    for (Py_ssize_t i = 0; self->columns != NULL && i < flor_width(self); i++) {
        Py_CLEAR(self->columns[i].others);
        PyMem_Free(self->columns[i].kinds);
        PyMem_Free(self->columns[i].cells);
    }
    PyMem_Free(self->columns);
    Py_XDECREF(self->code);
    Py_XDECREF(self->names);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
get_next(PyObject *op, void *Py_UNUSED(closure))
{
    Columns *self = (Columns *)op;
    return PyLong_FromLongLong(self->count ? self->first + self->count : -1);
}

static PyMethodDef methods[] = {
    {"add", (PyCFunction)(void (*)(void))columns_add, METH_FASTCALL,
     PyDoc_STR("add($self, loop, iteration, /)\n--\n\n"
               "Add what the variables of the loop's frame hold now as the row of `iteration`.")},
    {"take", columns_take, METH_O,
     PyDoc_STR("take($self, pack_from, /)\n--\n\n"
               "The columns gathered, which are gone then: each None if it has no value, else a "
               "list\nwith None in the gaps; of `pack_from` rows and more, numbers without gaps as "
               "('f8', bytes),\n('i8', bytes) or ('range', (first, step)).")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"names", T_OBJECT, offsetof(Columns, names), READONLY, PyDoc_STR("Of the variables.")},
    {"count", T_PYSSIZET, offsetof(Columns, count), READONLY, PyDoc_STR("How many rows there are.")},
    {"first", T_LONGLONG, offsetof(Columns, first), READONLY,
     PyDoc_STR("The iteration of the first row, if there is one.")},
    {"until", T_LONGLONG, offsetof(Columns, until), 0,
     PyDoc_STR("The handler is called from the boundary before this iteration on.")},
    {"deadline", T_DOUBLE, offsetof(Columns, deadline), 0,
     PyDoc_STR("The handler is called from this time on, in seconds of `time.perf_counter`.")},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef computed[] = {
    {"next", get_next, NULL, PyDoc_STR("The iteration whose row is to follow; -1: any."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(doc, "Columns(names, read)\n--\n\n"
                  "The scalars that variables of a loop's frame held at the ends of consecutive "
                  "iterations.\n\nAs `rows` of a LoopIter it is filled at every boundary, and the "
                  "handler is called only when\nthe next row does not follow, at `until`, at "
                  "`deadline`, or when many rows have gathered.\n`read(value)` gives the scalar of "
                  "a value that is no plain number: None if there is none,\nNotImplemented if no "
                  "value of its type ever has one.");

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)doc},
    {Py_tp_new, columns_new},
    {Py_tp_dealloc, columns_dealloc},
    {Py_tp_traverse, columns_traverse},
    {Py_tp_clear, columns_clear},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, computed},
    {0, NULL},
};

PyType_Spec flor_columns_spec = {
    .name = "flor_trace._speedups.Columns",
    .basicsize = sizeof(Columns),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
