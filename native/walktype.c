/* The type of Walker: the references of a capture, and the loop that describes objects. */
#include "walk.h"

#include "loops.h"

#include <stddef.h>
#include <structmember.h> /* after Python.h, which it needs before 3.12 */

static const char *const part_names[WALK_PARTS] = {"node", "pool", "more_ids", "empty"};
static const char *const kind_names[WAYS] = {
    "", "instance", "dict", "list", "tuple", "dict", "set",
};

/* What is known of a class: a list of these. */
enum { CAPTURE, PLAN, WAY, TYPE, KNOWN_NAMES, ENTRY };

/* ---- describing */

static PyObject *
entry_of(PyObject *captures, PyObject *prepare, PyObject *cls)
{
    PyObject *entry = Py_XNewRef(PyDict_GetItemWithError(captures, cls));
    if (entry == NULL && !PyErr_Occurred()) {
        entry = PyObject_CallOneArg(prepare, cls);
        if (entry != NULL && (!PyList_CheckExact(entry) || PyList_GET_SIZE(entry) != ENTRY)) {
            PyErr_SetString(PyExc_TypeError, "what is known of a class is a list of five");
            Py_CLEAR(entry);
        }
        if (entry != NULL && PyDict_SetItem(captures, cls, entry) < 0) {
            Py_CLEAR(entry);
        }
    }
    return entry;
}

/* By the codec; the names of an instance are remembered for the next of its class. */
static PyObject *
by_codec(FlorWalker *self, PyObject *walk, PyObject *obj, PyObject *entry, FlorWay way)
{
    PyObject *args[] = {walk, obj, PyList_GET_ITEM(entry, PLAN)};
    PyObject *node = PyObject_Vectorcall(PyList_GET_ITEM(entry, CAPTURE), args, 3, NULL);
    PyObject *names = node == NULL || way != INSTANCE ? NULL
        : flor_node_field(&self->nodes, node, NAMES);
    if (names != NULL) {
        PyList_SetItem(entry, KNOWN_NAMES, Py_NewRef(names));
    }
    return node;
}

static PyObject *
describe(FlorWalker *self, PyObject *walk, PyObject *obj, PyObject *entry)
{
    FlorWay way = (FlorWay)PyLong_AsLong(PyList_GET_ITEM(entry, WAY));
    if (way > BY_CODEC && way < WAYS) {
        PyObject *type_name = PyList_GET_ITEM(entry, TYPE);
        PyObject *names = Py_NewRef(PyList_GET_ITEM(entry, KNOWN_NAMES));
        PyObject *node = flor_walk_node(self, walk, obj, way, type_name, names);
        Py_DECREF(names);
        if (node != NULL || PyErr_Occurred()) {
            return node;
        }
    }
    return PyErr_Occurred() ? NULL : by_codec(self, walk, obj, entry, way);
}

static PyObject *
walker_drain(PyObject *op, PyObject *args)
{
    FlorWalker *self = (FlorWalker *)op;
    PyObject *walk, *nodes, *captures, *prepare;
    Py_ssize_t most;
    if (!PyArg_ParseTuple(args, "OO!O!On:drain", &walk, &PyList_Type, &nodes, &PyDict_Type,
                          &captures, &prepare, &most)) {
        return NULL;
    }
    while (PyList_GET_SIZE(nodes) < PyList_GET_SIZE(self->objects)) {
        PyObject *obj = Py_NewRef(PyList_GET_ITEM(self->objects, PyList_GET_SIZE(nodes)));
        PyObject *entry = entry_of(captures, prepare, (PyObject *)Py_TYPE(obj));
        PyObject *node = entry == NULL ? NULL : describe(self, walk, obj, entry);
        int failed = node == NULL || PyList_Append(nodes, node) < 0;
        Py_XDECREF(node);
        Py_XDECREF(entry);
        Py_DECREF(obj);
        if (failed) {
            return NULL;
        }
        if (PyList_GET_SIZE(self->objects) > most) {
            Py_RETURN_FALSE;
        }
    }
    Py_RETURN_TRUE;
}

/* ---- the type */

static PyObject *
walker_call(PyObject *op, PyObject *const *args, size_t flags, PyObject *keywords)
{
    if (PyVectorcall_NARGS(flags) != 1 || keywords != NULL) {
        PyErr_SetString(PyExc_TypeError, "a Walker takes one object");
        return NULL;
    }
    return flor_walk_ref((FlorWalker *)op, args[0]);
}

static int
find_parts(FlorWalker *self, PyObject *given)
{
    for (int i = 0; i < WALK_PARTS; i++) {
        PyObject *part = PyDict_GetItemString(given, part_names[i]);
        if (part == NULL) {
            PyErr_Format(PyExc_TypeError, "a Walker needs %s", part_names[i]);
            return -1;
        }
        self->parts[i] = Py_NewRef(part);
    }
    if (!PyType_Check(self->parts[NODE_TYPE]) || !PyList_CheckExact(self->parts[POOL])
        || !PyDict_CheckExact(self->parts[EMPTY])) {
        PyErr_SetString(PyExc_TypeError, "the parts of a Walker are of other types");
        return -1;
    }
    return flor_find_fields(&self->nodes, self->parts[NODE_TYPE]);
}

static int
make_constants(FlorWalker *self)
{
    for (int i = 0; i < WAYS; i++) {
        if ((self->kinds[i] = PyUnicode_InternFromString(kind_names[i])) == NULL) {
            return -1;
        }
    }
    return (self->objects = PyList_New(0)) == NULL
            || (self->nan = PyFloat_FromDouble(Py_NAN)) == NULL
            || (self->no_names = PyTuple_New(0)) == NULL
            || (self->no_leaf = PyLong_FromLong(-1)) == NULL
            || (self->part = PyUnicode_InternFromString("part")) == NULL
        ? -1 : 0;
}

static PyObject *
walker_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    PyObject *given, *prefixes, *ids, *owners;
    Py_ssize_t most;
    if (!PyArg_ParseTuple(args, "O!O!O!O!n:Walker", &PyDict_Type, &given, &PyTuple_Type, &prefixes,
                          &PyDict_Type, &ids, &PyList_Type, &owners, &most)) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(prefixes); i++) {
        if (!PyUnicode_Check(PyTuple_GET_ITEM(prefixes, i))) {
            PyErr_SetString(PyExc_TypeError, "prefixes are strings");
            return NULL;
        }
    }
    FlorWalker *self = (FlorWalker *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->call = walker_call;
    self->most = most;
    self->prefixes = Py_NewRef(prefixes);
    self->ids = Py_NewRef(ids);
    self->owners = Py_NewRef(owners);
    if (make_constants(self) < 0 || find_parts(self, given) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static int
walker_traverse(PyObject *op, visitproc visit, void *arg)
{
    FlorWalker *self = (FlorWalker *)op;
    Py_VISIT(Py_TYPE(op));
    for (int i = 0; i < WALK_PARTS; i++) {
        Py_VISIT(self->parts[i]);
    }
    Py_VISIT(self->objects);
    Py_VISIT(self->ids);
    Py_VISIT(self->owners);
    return 0;
}

static int
walker_clear(PyObject *op)
{
    FlorWalker *self = (FlorWalker *)op;
    for (int i = 0; i < WALK_PARTS; i++) {
        Py_CLEAR(self->parts[i]);
    }
    Py_CLEAR(self->objects);
    Py_CLEAR(self->ids);
    Py_CLEAR(self->owners);
    return 0;
}

static void
walker_dealloc(PyObject *op)
{
    FlorWalker *self = (FlorWalker *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    walker_clear(op);
    PyObject *rest[] = {self->prefixes, self->nan, self->no_names, self->no_leaf, self->part};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        Py_XDECREF(rest[i]);
    }
    for (int i = 0; i < WAYS; i++) {
        Py_XDECREF(self->kinds[i]);
    }
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"drain", walker_drain, METH_VARARGS,
     PyDoc_STR("drain($self, walk, nodes, captures, prepare, most, /)\n--\n\n"
               "Describe all that was met; False when that is more than `most` objects.")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(FlorWalker, call), READONLY, NULL},
    {"objects", T_OBJECT_EX, offsetof(FlorWalker, objects), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Walker(parts, prefixes, ids, owners, most, /)\n--\n\n"
                                  "Gives an atom as it is, and of other objects the id.")},
    {Py_tp_new, walker_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_dealloc, walker_dealloc},
    {Py_tp_traverse, walker_traverse},
    {Py_tp_clear, walker_clear},
    {Py_tp_members, members},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec walker_spec = {
    .name = "flor_trace._speedups.Walker",
    .basicsize = sizeof(FlorWalker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC
        | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = slots,
};

int
flor_add_walk(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &walker_spec, NULL);
    int status = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return status;
}
