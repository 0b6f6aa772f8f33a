/* Packer: packs containers, and knows the parts of those it packed. */
#include "packing.h"

enum { LEAST = 64 };
/* Numbers of parts in the table: which packed container, and where in it. */
enum { OWNER_SHIFT = 40 };

/* Make the parts findable, and keep them alive. */
static int
keep_parts(FlorPacker *packer, PyObject *const *parts, Py_ssize_t count)
{
    long long owner = packer->packed++ << OWNER_SHIFT;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (flor_table_set(&packer->parts, parts[i], owner + i) < 0
            || PyList_Append(packer->held, parts[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
make_memo(const FlorWriter *w, PyObject *root)
{
    FlorMemo *memo = NULL;
    if (w->escaped > 0 || Py_IS_TYPE(root, &PyTuple_Type)) {
        return Py_NewRef(Py_None);
    }
    memo = flor_memo_new(w->packer->memo_type);
    int result = memo == NULL ? -1 : flor_memo_add(memo, root);
    for (Py_ssize_t i = 0; result == 0 && i < w->parts; i++) {
        result = flor_memo_add(memo, w->met[i]);
    }
    if (result == 0) {
        return (PyObject *)memo;
    }
    Py_XDECREF(memo);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
finish(FlorWriter *w, PyObject *root, int remember)
{
    if (w->objects < LEAST * (1 + w->escaped)) {
        return Py_NewRef(Py_None);
    }
    PyObject *memo = remember ? make_memo(w, root) : Py_NewRef(Py_None);
    PyObject *paths = PyList_AsTuple(w->paths), *data = NULL, *result = NULL;
    if (memo != NULL && paths != NULL && keep_parts(w->packer, w->met, w->parts) == 0) {
        data = PyBytes_FromStringAndSize((const char *)w->data, (Py_ssize_t)w->used);
    }
    if (data != NULL) {
        result = Py_BuildValue("OnnOOO", data, w->objects, w->parts, w->escapes, paths, memo);
    }
    Py_XDECREF(memo);
    Py_XDECREF(paths);
    Py_XDECREF(data);
    return result;
}

static PyObject *
packer_pack(PyObject *op, PyObject *args)
{
    PyObject *root, *result = NULL;
    int remember = 0;
    if (!PyArg_ParseTuple(args, "O|p:pack", &root, &remember)) {
        return NULL;
    }
    if (!PyList_CheckExact(root) && !PyTuple_CheckExact(root) && !PyDict_CheckExact(root)) {
        return Py_NewRef(Py_None);
    }
    FlorWriter w = {.packer = (FlorPacker *)op, .escapes = PyList_New(0), .paths = PyList_New(0)};
    int done = w.escapes == NULL || w.paths == NULL ? -1 : flor_write_root(&w, root);
    if (done == 0) {
        result = finish(&w, root, remember);
    }
    else if (done > 0) {
        result = Py_NewRef(Py_None);
    }
    while (w.parts > 0) {
        Py_DECREF(w.met[--w.parts]);
    }
    PyMem_Free(w.met);
    PyMem_Free(w.data);
    flor_table_free(&w.local);
    Py_XDECREF(w.escapes);
    Py_XDECREF(w.paths);
    return result;
}

static PyObject *
packer_holds(PyObject *op, PyObject *args)
{
    FlorPacker *packer = (FlorPacker *)op;
    PyObject *root, *given;
    if (!PyArg_ParseTuple(args, "OO!:holds", &root, packer->memo_type, &given)) {
        return NULL;
    }
    FlorMemo *memo = (FlorMemo *)given;
    if (!flor_memo_holds(memo, root)) {
        Py_RETURN_FALSE;
    }
    Py_ssize_t count = memo->count - 1;
    PyObject **parts = PyMem_Malloc((size_t)(count + 1) * sizeof(PyObject *));
    int known = parts == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; known == 0 && i < count; i++) {
        parts[i] = memo->parts[i + 1].object;
        known = flor_is_known(packer, parts[i]);
    }
    if (known == 0) {
        known = keep_parts(packer, parts, count);
    }
    PyMem_Free(parts);
    return known < 0 ? (parts == NULL ? PyErr_NoMemory() : NULL) : PyBool_FromLong(!known);
}

static PyObject *
packer_find(PyObject *op, PyObject *object)
{
    long long found = flor_table_get(&((FlorPacker *)op)->parts, object);
    if (found < 0) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("LL", found >> OWNER_SHIFT, found & ((1LL << OWNER_SHIFT) - 1));
}

static PyObject *
packer_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *ids, *prefixes, *ignored;
    if (!PyArg_ParseTuple(args, "O!O!O!:Packer", &PyDict_Type, &ids, &PyTuple_Type, &prefixes,
                          &PyFrozenSet_Type, &ignored)) {
        return NULL;
    }
    PyObject *module = PyType_GetModule(type);
    PyObject *memo = module == NULL ? NULL : PyObject_GetAttrString(module, "Memo");
    FlorPacker *packer = memo == NULL ? NULL : (FlorPacker *)type->tp_alloc(type, 0);
    if (packer == NULL) {
        Py_XDECREF(memo);
        return NULL;
    }
    packer->memo_type = (PyTypeObject *)memo;
    packer->ids = Py_NewRef(ids);
    packer->prefixes = Py_NewRef(prefixes);
    packer->ignored = Py_NewRef(ignored);
    packer->parts = (FlorTable){0};
    packer->packed = 0;
    if ((packer->held = PyList_New(0)) == NULL) {
        Py_CLEAR(packer);
    }
    return (PyObject *)packer;
}

static void
packer_dealloc(PyObject *op)
{
    FlorPacker *packer = (FlorPacker *)op;
    PyTypeObject *type = Py_TYPE(op);
    Py_XDECREF(packer->memo_type);
    Py_XDECREF(packer->ids);
    Py_XDECREF(packer->prefixes);
    Py_XDECREF(packer->ignored);
    Py_XDECREF(packer->held);
    flor_table_free(&packer->parts);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef packer_methods[] = {
    {"pack", packer_pack, METH_VARARGS,
     PyDoc_STR("pack($self, container, remember=False, /)\n--\n\n"
               "(bytes, objects, parts, escapes, paths, memo or None) of a plain list, dict or "
               "tuple,\nor None when it is too small or holds too much else.")},
    {"holds", packer_holds, METH_VARARGS,
     PyDoc_STR("holds($self, container, memo, /)\n--\n\n"
               "Whether packing would give the bytes again that came with the memo; its parts are\n"
               "met then.")},
    {"find", packer_find, METH_O,
     PyDoc_STR("find($self, object, /)\n--\n\n"
               "(number of the packed container, number of the part) of a part, or None.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot packer_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Packer(ids, prefixes, ignored, /)\n--\n\n"
                                  "Packs containers, and knows the parts of those it packed.")},
    {Py_tp_new, packer_new},
    {Py_tp_dealloc, packer_dealloc},
    {Py_tp_methods, packer_methods},
    {0, NULL},
};

PyType_Spec flor_packer_spec = {
    .name = "flor_trace._speedups.Packer",
    .basicsize = sizeof(FlorPacker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = packer_slots,
};

static PyObject *
pack_numbers(PyObject *Py_UNUSED(module), PyObject *sequence)
{
    if (!PyList_Check(sequence) && !PyTuple_Check(sequence)) {
        Py_RETURN_NONE;
    }
    PyObject **items = PySequence_Fast_ITEMS(sequence);
    Py_ssize_t length = PySequence_Fast_GET_SIZE(sequence);
    char code = length > 0 ? flor_array_code(items, length) : 0;
    if (code == 0) {
        Py_RETURN_NONE;
    }
    PyObject *data = PyBytes_FromStringAndSize(NULL, 8 * length);
    if (data == NULL) {
        return NULL;
    }
    flor_fill_array((unsigned char *)PyBytes_AS_STRING(data), code, items, length);
    return Py_BuildValue("CN", code, data);
}

static PyMethodDef functions[] = {
    {"pack_numbers", pack_numbers, METH_O,
     PyDoc_STR("pack_numbers($module, sequence, /)\n--\n\n"
               "('d', bytes) of a list or tuple of floats, ('q', bytes) of one of ints of 64 "
               "bits, else None.")},
    {NULL, NULL, 0, NULL},
};

int
flor_add_pack(PyObject *module)
{
    PyType_Spec *specs[] = {&flor_packer_spec, &flor_memo_spec};
    for (int i = 0; i < 2; i++) {
        PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, specs[i], NULL);
        int failed = type == NULL || PyModule_AddType(module, type) < 0;
        Py_XDECREF(type);
        if (failed) {
            return -1;
        }
    }
    return PyModule_AddFunctions(module, functions);
}
