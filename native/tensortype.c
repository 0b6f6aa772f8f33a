/* The type of TensorReader, a codec's `capture` for tensors: (walk, tensor, plan) -> node. */
#include "tensors.h"

#include "hash.h"
#include "loops.h"

#include <stddef.h>
#include <structmember.h> /* after Python.h, which it needs before 3.12 */

static const char *const part_names[PARTS] = {
    "grad", "requires_grad", "is_leaf", "dtype", "layout", "is_cpu", "shape", "tensor_nbytes",
    "is_neg", "is_conj", "storage_offset", "untyped_storage", "nbytes", "data_ptr", "stride",
    "node", "types", "dtypes", "strided", "fallback",
};

/* ---- nodes */

/* The tensor's attributes, borrowed, or NULL when it has none. */
static PyObject *
space_of(PyObject *obj)
{
    PyObject **place = _PyObject_GetDictPtr(obj);
    PyObject *space = place == NULL ? NULL : *place;
    return space != NULL && PyDict_GET_SIZE(space) > 0 ? space : NULL;
}

/* What stands for a value in a node; the walk need not be asked for what is nothing but itself. */
static PyObject *
reference(PyObject *ref, PyObject *value)
{
    return value == Py_None || PyBool_Check(value) ? Py_NewRef(value)
                                                   : PyObject_CallOneArg(ref, value);
}

static int
append_reference(PyObject *children, PyObject *ref, PyObject *value)
{
    PyObject *one = reference(ref, value);
    int status = one == NULL ? -1 : PyList_Append(children, one);
    Py_XDECREF(one);
    return status;
}

/* Add the attributes to the children; their names after "grad", or NULL with an exception. */
static PyObject *
add_attributes(const FlorReader *self, PyObject *children, PyObject *ref, PyObject *space)
{
    if (space == NULL) {
        return Py_NewRef(self->grad_names);
    }
    /* A copy: what `ref` calls is ours, but a list of pairs costs little and cannot change. */
    PyObject *keys = PyDict_Keys(space), *values = PyDict_Values(space), *names = NULL;
    for (Py_ssize_t i = 0; keys != NULL && values != NULL && i < PyList_GET_SIZE(values); i++) {
        if (append_reference(children, ref, PyList_GET_ITEM(values, i)) < 0) {
            Py_CLEAR(values);
        }
    }
    if (keys != NULL && values != NULL) {
        PyObject *plain = PyList_AsTuple(keys);
        names = plain == NULL ? NULL : PySequence_Concat(self->grad_names, plain);
        Py_XDECREF(plain);
    }
    Py_XDECREF(keys);
    Py_XDECREF(values);
    return names;
}

/* The children of a node: the gradient, then the attributes, whose names go to `names`. */
static PyObject *
children_of(
    const FlorReader *self, PyObject *walk, PyObject *obj, int is_leaf, PyObject **names)
{
    PyObject *ref = PyObject_GetAttr(walk, self->ref);
    PyObject *grad = ref == NULL ? NULL
        : is_leaf ? flor_tensor_slot(self, GRAD, obj) : Py_NewRef(Py_None);
    PyObject *children = grad == NULL ? NULL : PyList_New(0);
    if (children != NULL && append_reference(children, ref, grad) == 0) {
        *names = add_attributes(self, children, ref, space_of(obj));
    }
    Py_XDECREF(ref);
    Py_XDECREF(grad);
    if (*names == NULL) {
        Py_CLEAR(children);
    }
    return children;
}

static PyObject *
node_of(const FlorReader *self, PyObject *walk, PyObject *obj, PyObject *plan, FlorTensor *found)
{
    PyObject *names = NULL, *leaf = flor_tensor_leaf(self, walk, found);
    PyObject *children = leaf == NULL ? NULL
        : children_of(self, walk, obj, found->is_leaf, &names);
    PyObject *fields[FIELDS] = {
        [KIND] = Py_NewRef(found->is_leaf ? self->tensor : self->detached),
        [TYPE_NAME] = children == NULL ? NULL : PyObject_GetAttr(plan, self->type_name),
        [PAYLOAD] = Py_NewRef(found->payload),
        [CHILDREN] = children,
        [NAMES] = names,
        [LEAF] = leaf,
    };
    return flor_make_node(&self->nodes, fields);
}

/* ---- the call */

static int
is_plain_type(const FlorReader *self, PyObject *obj)
{
    PyObject *types = self->parts[TYPES];
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(types); i++) {
        if (PyTuple_GET_ITEM(types, i) == (PyObject *)Py_TYPE(obj)) {
            return 1;
        }
    }
    return 0;
}

static PyObject *
reader_call(PyObject *op, PyObject *const *args, size_t flags, PyObject *keywords)
{
    FlorReader *self = (FlorReader *)op;
    if (PyVectorcall_NARGS(flags) != 3 || keywords != NULL) {
        PyErr_SetString(PyExc_TypeError, "a TensorReader takes a walk, a tensor and a plan");
        return NULL;
    }
    FlorTensor found = {0};
    int known = is_plain_type(self, args[1]) ? flor_read_tensor(self, args[1], &found) : 0;
    PyObject *node = NULL;
    if (known == 1) {
        node = node_of(self, args[0], args[1], args[2], &found);
    }
    else {
        PyErr_Clear(); /* what torch refuses to say here, the function below asks otherwise */
        node = PyObject_Vectorcall(self->parts[FALLBACK], args, 3, NULL);
    }
    Py_XDECREF(found.payload);
    Py_XDECREF(found.storage);
    return node;
}

/* ---- the type */

static int
has_right_parts(const FlorReader *self)
{
    for (int i = 0; i < FIRST_METHOD; i++) {
        if (!Py_IS_TYPE(self->parts[i], &PyGetSetDescr_Type)
            || ((PyGetSetDescrObject *)self->parts[i])->d_getset->get == NULL) {
            return 0;
        }
    }
    for (int i = FIRST_METHOD; i < FIRST_VALUE; i++) {
        if (!Py_IS_TYPE(self->parts[i], &PyMethodDescr_Type)
            || (i != STRIDE
                && ((PyMethodDescrObject *)self->parts[i])->d_method->ml_flags != METH_NOARGS)) {
            return 0;
        }
    }
    /* Slots are read without asking for the type again: all must be of the types read here. */
    PyObject *types = self->parts[TYPES];
    for (Py_ssize_t i = 0; PyTuple_Check(types) && i < PyTuple_GET_SIZE(types); i++) {
        PyObject *type = PyTuple_GET_ITEM(types, i);
        if (!PyType_Check(type)
            || !PyType_IsSubtype((PyTypeObject *)type, PyDescr_TYPE(self->parts[GRAD]))) {
            return 0;
        }
    }
    return PyTuple_Check(types) && PyDict_Check(self->parts[DTYPES])
        && PyType_Check(self->parts[NODE]);
}

static int
find_parts(FlorReader *self, PyObject *given)
{
    for (int i = 0; i < PARTS; i++) {
        PyObject *part = PyDict_GetItemString(given, part_names[i]);
        if (part == NULL) {
            PyErr_Format(PyExc_TypeError, "a TensorReader needs %s", part_names[i]);
            return -1;
        }
        self->parts[i] = Py_NewRef(part);
    }
    if (!has_right_parts(self)) {
        PyErr_SetString(PyExc_TypeError, "the slots of this torch are not those of C");
        return -1;
    }
    return flor_find_fields(&self->nodes, self->parts[NODE]);
}

static int
find_exchange(FlorReader *self, PyObject *capsule)
{
    if (capsule == Py_None) {
        return 0;
    }
    const FlorDLExchange *found = PyCapsule_GetPointer(capsule, "dlpack_exchange_api");
    if (found != NULL && found->header.major == FLOR_DL_MAJOR && found->tensor_from != NULL) {
        self->exchange = found;
    }
    return found == NULL ? -1 : 0;
}

static PyObject *
reader_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    PyObject *given, *capsule;
    if (!PyArg_ParseTuple(args, "O!O:TensorReader", &PyDict_Type, &given, &capsule)) {
        return NULL;
    }
    FlorReader *self = (FlorReader *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    FlorState *state = PyType_GetModuleState(type);
    self->call = reader_call;
    self->span_type = (PyTypeObject *)Py_NewRef((PyObject *)state->span_type);
    if ((self->tensor = PyUnicode_InternFromString("tensor")) == NULL
        || (self->detached = PyUnicode_InternFromString("detached tensor")) == NULL
        || (self->cpu = PyUnicode_InternFromString("cpu")) == NULL
        || (self->grad_names = Py_BuildValue("(s)", "grad")) == NULL
        || (self->leaf_keys = PyUnicode_InternFromString("_leaf_keys")) == NULL
        || (self->leaves = PyUnicode_InternFromString("leaves")) == NULL
        || (self->ref = PyUnicode_InternFromString("ref")) == NULL
        || (self->shown = PyUnicode_InternFromString("shown")) == NULL
        || (self->type_name = PyUnicode_InternFromString("type_name")) == NULL
        || find_parts(self, given) < 0 || find_exchange(self, capsule) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static int
reader_traverse(PyObject *op, visitproc visit, void *arg)
{
    FlorReader *self = (FlorReader *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->span_type);
    for (int i = 0; i < PARTS; i++) {
        Py_VISIT(self->parts[i]);
    }
    return 0;
}

static int
reader_clear(PyObject *op)
{
    FlorReader *self = (FlorReader *)op;
    for (int i = 0; i < PARTS; i++) {
        Py_CLEAR(self->parts[i]);
    }
    return 0;
}

static void
reader_dealloc(PyObject *op)
{
    FlorReader *self = (FlorReader *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    reader_clear(op);
    for (int i = 0; i < FLOR_REMEMBERED; i++) {
        Py_XDECREF(self->remembered[i].payload);
    }
    PyObject *names[] = {self->tensor, self->detached, self->cpu, self->grad_names,
        self->leaf_keys, self->leaves, self->ref, self->shown, self->type_name,
        (PyObject *)self->span_type};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Py_XDECREF(names[i]);
    }
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(FlorReader, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("TensorReader(parts, exchange, /)\n--\n\n"
                                  "Captures a tensor as parts['fallback'] does, faster.")},
    {Py_tp_new, reader_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_dealloc, reader_dealloc},
    {Py_tp_traverse, reader_traverse},
    {Py_tp_clear, reader_clear},
    {Py_tp_members, members},
    {0, NULL},
};

static PyType_Spec reader_spec = {
    .name = "flor_trace._speedups.TensorReader",
    .basicsize = sizeof(FlorReader),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC
        | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = slots,
};

int
flor_add_tensors(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &reader_spec, NULL);
    int status = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return status;
}
