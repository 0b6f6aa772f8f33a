/* Reads the scalars of an iteration without running Python code, and keeps them as C numbers. */
#include "columns.h"

/* -- reading one value ------------------------------------------------------------------------ */

static int
is_numpy_float64(PyTypeObject *type)
{
    /* A static type of numpy's, which is a float that carries its number where float does. */
    return !(type->tp_flags & Py_TPFLAGS_HEAPTYPE) && PyType_IsSubtype(type, &PyFloat_Type)
           && strcmp(type->tp_name, "numpy.float64") == 0;
}

/* Put a Python scalar into a cell; its kind, or -1 with an exception. */
static int
put(FlorColumn *column, Py_ssize_t row, PyObject *value)
{
    if (PyFloat_CheckExact(value)) {
        column->cells[row].real = PyFloat_AS_DOUBLE(value);
        return REAL;
    }
    if (PyBool_Check(value)) {
        column->cells[row].whole = value == Py_True;
        return TRUTH;
    }
    if (PyLong_CheckExact(value)) {
        int overflow;
        column->cells[row].whole = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (!overflow) {
            return WHOLE;
        }
    }
    if (column->others == NULL && (column->others = PyList_New(0)) == NULL) {
        return -1;
    }
    column->cells[row].whole = PyList_GET_SIZE(column->others);
    return PyList_Append(column->others, value) < 0 ? -1 : OTHER;
}

/* Have the reader say what scalar a value holds: that, None, or NotImplemented for "never". */
static int
put_read(Columns *self, FlorColumn *column, Py_ssize_t row, PyObject *value)
{
    PyThreadState *thread = flor_thread();
    PyTypeObject *type = (PyTypeObject *)Py_NewRef((PyObject *)Py_TYPE(value));
    Py_INCREF(value);
    PyThreadState_EnterTracing(thread);
    PyObject *scalar = PyObject_CallOneArg(self->read, value);
    PyThreadState_LeaveTracing(thread);
    Py_DECREF(value);
    int kind = ABSENT;
    if (scalar == NULL) {
        kind = -1;
    }
    else if (scalar == Py_NotImplemented) {
        Py_XSETREF(column->never, (PyTypeObject *)Py_NewRef((PyObject *)type));
    }
    else if (scalar != Py_None) {
        kind = put(column, row, scalar);
    }
    Py_XDECREF(scalar);
    Py_DECREF(type);
    return kind;
}

static int
put_value(Columns *self, FlorColumn *column, Py_ssize_t row, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyFloat_Type || type == &PyBool_Type) {
        return put(column, row, value);
    }
    if (type == &PyLong_Type) {
        int overflow;
        column->cells[row].whole = PyLong_AsLongLongAndOverflow(value, &overflow);
        return overflow ? put_read(self, column, row, value) : WHOLE;
    }
    if (type == column->never || value == Py_None) {
        return ABSENT;
    }
    if (is_numpy_float64(type)) {
        column->cells[row].real = PyFloat_AS_DOUBLE(value);
        return REAL;
    }
    return put_read(self, column, row, value);
}

/* -- rows ------------------------------------------------------------------------------------- */

static int
make_room(Columns *self)
{
    if (self->count < self->room) {
        return 0;
    }
    Py_ssize_t room = self->room ? self->room * 2 : 8;
    for (Py_ssize_t i = 0; i < flor_width(self); i++) {
        FlorColumn *column = &self->columns[i];
        unsigned char *kinds = PyMem_Realloc(column->kinds, room);
        if (kinds != NULL) {
            column->kinds = kinds;
        }
        Cell *cells = PyMem_Realloc(column->cells, room * sizeof(Cell));
        if (cells != NULL) {
            column->cells = cells;
        }
        if (kinds == NULL || cells == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    self->room = room;
    return 0;
}

static void
find_variables(Columns *self, PyCodeObject *code)
{
    Py_XSETREF(self->code, (PyCodeObject *)Py_NewRef((PyObject *)code));
    for (Py_ssize_t i = 0; i < flor_width(self); i++) {
        self->columns[i].index = flor_variable_named(code, self->columns[i].name);
    }
}

int
flor_columns_add(Columns *self, FlorFrame *frame, long long iteration)
{
    PyCodeObject *code = flor_frame_code(frame);
    if (code != self->code) {
        find_variables(self, code);
    }
    if (make_room(self) < 0) {
        return -1;
    }
    Py_ssize_t row = self->count;
    for (Py_ssize_t i = 0; i < flor_width(self); i++) {
        FlorColumn *column = &self->columns[i];
        PyObject *value = flor_value_at(frame, code, column->index, column->name);
        int kind = ABSENT;
        if (value != NULL) {
            kind = put_value(self, column, row, value);
        }
        else if (PyErr_Occurred()) {
            kind = -1;
        }
        if (kind < 0) {
            return -1;
        }
        column->kinds[row] = kind;
        column->seen |= kind;
    }
    if (row == 0) {
        self->first = iteration;
    }
    self->count++;
    return 0;
}

static int
due(const Columns *self, long long iteration)
{
    return iteration + 1 >= self->until || self->count >= FLOR_MOST_ROWS
           || flor_perf_counter() >= self->deadline;
}

int
flor_columns_boundary(Columns *self, FlorFrame *frame, long long iteration)
{
    if (self->count > 0 && self->first + self->count != iteration) {
        return 1;
    }
    if (flor_columns_add(self, frame, iteration) < 0) {
        return -1;
    }
    return due(self, iteration);
}
