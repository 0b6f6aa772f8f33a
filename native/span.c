/* Live memory as a leaf: a pointer and a length, and what keeps them good. */
#include "hash.h"

#include <stddef.h>
#include <structmember.h> /* after Python.h, which it needs before 3.12 */

PyObject *flor_span_new(PyTypeObject *type, PyObject *owner, const void *data, Py_ssize_t length)
{
    FlorSpan *span = (FlorSpan *)type->tp_alloc(type, 0);
    if (span != NULL) {
        span->owner = Py_NewRef(owner);
        span->data = data;
        span->length = length;
    }
    return (PyObject *)span;
}

static void span_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    Py_DECREF(((FlorSpan *)op)->owner);
    type->tp_free(op);
    Py_DECREF(type);
}

static int span_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    FlorSpan *span = (FlorSpan *)op;
    return PyBuffer_FillInfo(view, op, (void *)span->data, span->length, 1, flags);
}

static Py_ssize_t span_length(PyObject *op)
{
    return ((FlorSpan *)op)->length;
}

static PyObject *span_tobytes(PyObject *op, PyObject *Py_UNUSED(unused))
{
    FlorSpan *span = (FlorSpan *)op;
    return PyBytes_FromStringAndSize(span->data, span->length);
}

static PyMemberDef members[] = {
    {"nbytes", T_PYSSIZET, offsetof(FlorSpan, length), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef methods[] = {
    {"tobytes", span_tobytes, METH_NOARGS, PyDoc_STR("tobytes($self, /)\n--\n\nReturn a copy.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Bytes of live memory, read-only, and what keeps them alive.")},
    {Py_tp_dealloc, span_dealloc},
    {Py_tp_members, members},
    {Py_tp_methods, methods},
    {Py_sq_length, span_length},
    {Py_bf_getbuffer, span_getbuffer},
    {0, NULL},
};

/* Without the collector: an owner is a block of memory, which refers to nothing. */
PyType_Spec flor_span_spec = {
    .name = "flor_trace._speedups.Span",
    .basicsize = sizeof(FlorSpan),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
