/* The type of Describer. */
#include "describer.h"

static PyObject *
describer_root(PyObject *op, PyObject *args)
{
    FlorDescriber *d = (FlorDescriber *)op;
    PyObject *first, *vague;
    if (!PyArg_ParseTuple(args, "OO!O!O!:root", &first, &PyDict_Type, &d->tokens, &PyList_Type,
                          &d->order, &PySet_Type, &vague)) {
        return NULL;
    }
    d->used = 0;
    d->items = 0;
    int status = flor_marshal_tagged(d, '[', 0, NULL, 0);
    status = status < 0 ? -1 : flor_marshal_value(d, first);
    for (Py_ssize_t i = 0; status == 0 && i < PyList_GET_SIZE(d->order); i++) {
        PyObject *at = PyList_GET_ITEM(d->order, i);
        PyObject *node = PyList_GetItem(d->parts[NODE_LIST], PyLong_AsSsize_t(at));
        status = node == NULL ? -1 : flor_describe(d, at, node, vague);
    }
    d->tokens = d->order = NULL;
    if (status < 0) {
        return NULL;
    }
    flor_marshal_long(d->data + 1, d->items);
    return PyBytes_FromStringAndSize((const char *)d->data, (Py_ssize_t)d->used);
}

static PyObject *
describer_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    if (PyTuple_GET_SIZE(args) != GIVEN) {
        return PyErr_Format(PyExc_TypeError, "a Describer takes %d arguments", GIVEN);
    }
    FlorDescriber *d = (FlorDescriber *)type->tp_alloc(type, 0);
    if (d == NULL) {
        return NULL;
    }
    d->given = Py_NewRef(args);
    for (int i = 0; i < GIVEN; i++) {
        d->parts[i] = PyTuple_GET_ITEM(args, i);
    }
    PyObject **parts = d->parts;
    if (!PyList_CheckExact(parts[NODE_LIST]) || !PyType_Check(parts[TYPE_OF_NODES])
        || !PyType_Check(parts[ID_TYPE]) || !PyAnySet_Check(parts[BY_VALUE])
        || !PyAnySet_Check(parts[PAIRED]) || !PyDict_Check(parts[COUNTS_AS])
        || !PyAnySet_Check(parts[IGNORE]) || !PyDict_Check(parts[MET])
        || !PyDict_Check(parts[OWNERS])) {
        PyErr_SetString(PyExc_TypeError, "the parts of a Describer are of other types");
        Py_CLEAR(d);
    }
    else if (flor_find_fields(&d->nodes, parts[TYPE_OF_NODES]) < 0) {
        Py_CLEAR(d);
    }
    return (PyObject *)d;
}

static int
describer_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((FlorDescriber *)op)->given);
    return 0;
}

static void
describer_dealloc(PyObject *op)
{
    FlorDescriber *d = (FlorDescriber *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    for (int i = 0; i < FLOR_WRITTEN; i++) {
        Py_XDECREF(d->written[i].bytes);
    }
    PyMem_Free(d->data);
    Py_XDECREF(d->given);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"root", describer_root, METH_VARARGS,
     PyDoc_STR("root($self, first, tokens, order, vague, /)\n--\n\n"
               "What the digest of a root is made of.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Describer(nodes, node_type, id_type, by_value, paired, "
                                  "counts_as, ignore, digests, met, owners, token, leaf, "
                                  "describe, /)\n--\n\n"
                                  "Writes what the digests of roots are made of.")},
    {Py_tp_new, describer_new},
    {Py_tp_dealloc, describer_dealloc},
    {Py_tp_traverse, describer_traverse},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "flor_trace._speedups.Describer",
    .basicsize = sizeof(FlorDescriber),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

int
flor_add_describer(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    int status = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return status;
}
