/* Reads where a generator stands, what its variables are and what lies on its value stack, and
   puts the same into another one.  Neither runs any code of the program. */
#include "generators.h"
#include "frames.h"
#include "loops.h"

static inline FlorFrame *
frame_of(PyGenObject *generator)
{
    return (FlorFrame *)generator->gi_iframe;
}

static inline int
has_begun(PyGenObject *generator)
{
    return generator->gi_frame_state != FRAME_CREATED;
}

static inline int
is_at_rest(PyGenObject *generator)
{
    return generator->gi_frame_state < FRAME_EXECUTING;
}

/* Whether an exception is being handled where the generator stands. */
static inline int
handles(PyGenObject *generator)
{
    PyObject *error = generator->gi_exc_state.exc_value;
    return error != NULL && error != Py_None;
}

static inline int
is_cell(PyCodeObject *code, Py_ssize_t index)
{
    const char *kinds = PyBytes_AS_STRING(code->co_localspluskinds);
    return (unsigned char)kinds[index] & (CO_FAST_CELL | CO_FAST_FREE);
}

static PyGenObject *
checked(PyObject *op)
{
    if (!PyGen_CheckExact(op)) {
        PyErr_Format(PyExc_TypeError, "a generator is needed, not %.80s", Py_TYPE(op)->tp_name);
        return NULL;
    }
    return (PyGenObject *)op;
}

/* What plain Python has in the place of an object on the value stack: of a loop of ours its
   iterator, of the sentinel of a `while` nothing, for which its site stands. */
static PyObject *
plain(FlorState *state, PyObject *item)
{
    if (item == NULL) {
        return Py_NewRef(state->unbound);
    }
    if (!Py_IS_TYPE(item, state->loop_type)) {
        return Py_NewRef(item);
    }
    LoopIter *loop = (LoopIter *)item;
    if (loop->site->kind == FLOR_WHILE) {
        return Py_NewRef((PyObject *)loop->site);
    }
    return Py_NewRef(loop->inner == NULL ? state->unbound : loop->inner);
}

static PyObject *
slots(FlorState *state, PyObject **first, Py_ssize_t count)
{
    PyObject *found = PyTuple_New(count);
    for (Py_ssize_t i = 0; found != NULL && i < count; i++) {
        PyTuple_SET_ITEM(found, i, plain(state, first[i]));
    }
    return found;
}

PyObject *
flor_read_generator(PyObject *module, PyObject *op)
{
    PyGenObject *generator = checked(op);
    if (generator == NULL) {
        return NULL;
    }
    if (!is_at_rest(generator)) {
        Py_RETURN_NONE;
    }
    FlorState *state = flor_state(module);
    FlorFrame *frame = frame_of(generator);
    PyCodeObject *code = flor_frame_code(frame);
    Py_ssize_t count = code->co_nlocalsplus;
    Py_ssize_t offset = has_begun(generator) ? flor_yield_offset(frame, code) : -1;
    PyObject *variables = slots(state, frame->localsplus, count);
    PyObject *stack = slots(state, frame->localsplus + count, frame->stacktop - count);
    PyObject *found = NULL;
    if (variables != NULL && stack != NULL) {
        found = Py_BuildValue("OOnOOO", (PyObject *)code, frame->f_globals, offset, variables,
                              stack, handles(generator) ? Py_True : Py_False);
    }
    Py_XDECREF(variables);
    Py_XDECREF(stack);
    return found;
}

/* 1, or 0 with an exception. */
static int
fits(PyGenObject *generator, Py_ssize_t offset, PyObject *variables, PyObject *stack)
{
    const char *why = NULL;
    PyCodeObject *code = flor_frame_code(frame_of(generator));
    if (!is_at_rest(generator) || handles(generator)) {
        why = "the generator is running, has ended, or handles an exception";
    }
    else if (offset < 0 ? has_begun(generator) || PyTuple_GET_SIZE(stack) > 0
                        : offset % 2 != 0 || offset / 2 + 1 >= Py_SIZE(code)) {
        why = "a generator of this code cannot stand there";
    }
    else if (PyTuple_GET_SIZE(variables) != code->co_nlocalsplus
             || PyTuple_GET_SIZE(stack) > code->co_stacksize) {
        why = "the code has another number of variables, or no room for the stack";
    }
    if (why != NULL) {
        PyErr_SetString(PyExc_ValueError, why);
    }
    return why == NULL;
}

/* New references to what is to lie in the slots, NULL among them; 0, or -1 with an exception. */
static int
prepare(FlorState *state, PyObject *items, PyCodeObject *cells_of, PyObject **into)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);
        if (item == state->unbound) {
            into[i] = NULL;
        }
        else if (cells_of == NULL && Py_IS_TYPE(item, state->site_type)) {
            into[i] = (PyObject *)flor_loop_new((Site *)item, NULL, FLOR_INERT);
            if (into[i] == NULL) {
                return -1;
            }
        }
        else if (cells_of != NULL && is_cell(cells_of, i) && !PyCell_Check(item)) {
            PyErr_Format(PyExc_TypeError, "variable %zd is in a cell, not in a %.80s", i,
                         Py_TYPE(item)->tp_name);
            return -1;
        }
        else {
            into[i] = Py_NewRef(item);
        }
    }
    return 0;
}

/* Exchange the contents of the frame; `old` is a list with room for all that was in it. */
static void
exchange(FlorFrame *frame, PyObject **wanted, Py_ssize_t count, PyObject *old)
{
    for (Py_ssize_t i = 0; i < frame->stacktop; i++) {
        PyList_SET_ITEM(old, i, frame->localsplus[i]);
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(old); i++) {
        if (PyList_GET_ITEM(old, i) == NULL) {
            PyList_SET_ITEM(old, i, Py_NewRef(Py_None));
        }
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        frame->localsplus[i] = wanted[i];
    }
    frame->stacktop = (int)count;
}

PyObject *
flor_write_generator(PyObject *module, PyObject *args)
{
    PyObject *op, *variables, *stack;
    Py_ssize_t offset;
    if (!PyArg_ParseTuple(args, "OnO!O!:write_generator", &op, &offset, &PyTuple_Type, &variables,
                          &PyTuple_Type, &stack)) {
        return NULL;
    }
    PyGenObject *generator = checked(op);
    if (generator == NULL || !fits(generator, offset, variables, stack)) {
        return NULL;
    }
    FlorFrame *frame = frame_of(generator);
    PyCodeObject *code = flor_frame_code(frame);
    Py_ssize_t locals = code->co_nlocalsplus, count = locals + PyTuple_GET_SIZE(stack);
    PyObject **wanted = PyMem_Calloc((size_t)count + 1, sizeof(PyObject *));
    PyObject *old = PyList_New(locals + code->co_stacksize);
    if (wanted == NULL || old == NULL) {
        PyErr_NoMemory();
        goto error;
    }
    FlorState *state = flor_state(module);
    /* Making the sentinels may run a collection, and that a finalizer that uses the generator. */
    if (prepare(state, variables, code, wanted) < 0
        || prepare(state, stack, NULL, wanted + locals) < 0
        || !fits(generator, offset, variables, stack)) {
        goto error;
    }
    exchange(frame, wanted, count, old);
    if (offset >= 0) {
        flor_stand_at_yield(generator, code, offset);
    }
    PyMem_Free(wanted);
    return old;
error:
    for (Py_ssize_t i = 0; wanted != NULL && i < count; i++) {
        Py_XDECREF(wanted[i]);
    }
    PyMem_Free(wanted);
    Py_XDECREF(old);
    return NULL;
}
