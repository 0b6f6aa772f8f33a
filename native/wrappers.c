/* AfterExec, Before and Unseen: calls pass through them without a Python frame of their own, so that
   tracebacks, stack levels and debuggers see the program as if nothing had been put in between. */
#include "wrappers.h"

#include <stddef.h>
#include <structmember.h>

/* Both types hold the callable they stand in for, and one to tell. */
typedef struct {
    PyObject_HEAD
    PyObject *wrapped;
    PyObject *callback;
    PyObject *weakrefs;
    vectorcallfunc call;
} Wrapper;

static int wrapper_traverse(PyObject *object, visitproc visit, void *arg)
{
    Wrapper *self = (Wrapper *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->wrapped);
    Py_VISIT(self->callback);
    return 0;
}

static int wrapper_clear(PyObject *object)
{
    Wrapper *self = (Wrapper *)object;
    Py_CLEAR(self->wrapped);
    Py_CLEAR(self->callback);
    return 0;
}

static void wrapper_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (((Wrapper *)object)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(object);
    }
    (void)wrapper_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static int check_callable(const char *role, PyObject *value)
{
    if (PyCallable_Check(value)) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "the %s must be callable, not '%.200s': pass a function", role,
                 Py_TYPE(value)->tp_name);
    return -1;
}

static PyObject *wrapper_new(PyTypeObject *type, PyObject *args, PyObject *kwargs,
                             const char *name, const char *role, vectorcallfunc call)
{
    PyObject *wrapped, *callback;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) {
        return PyErr_Format(PyExc_TypeError, "%s() takes no keyword arguments", name);
    }
    if (!PyArg_UnpackTuple(args, name, 2, 2, &wrapped, &callback)
        || check_callable(role, wrapped) < 0 || check_callable("callback", callback) < 0) {
        return NULL;
    }
    Wrapper *self = (Wrapper *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->wrapped = Py_NewRef(wrapped);
        self->callback = Py_NewRef(callback);
        self->call = call;
    }
    return (PyObject *)self;
}

/* Only a finalizer that runs while a cycle is being torn down can meet a cleared wrapper. */
static int check_alive(Wrapper *self)
{
    if (self->wrapped != NULL && self->callback != NULL) {
        return 0;
    }
    PyErr_SetString(PyExc_ReferenceError, "the wrapped function is gone: it is being collected");
    return -1;
}

static PyObject *wrapper_repr(PyObject *object, const char *name)
{
    Wrapper *self = (Wrapper *)object;
    return check_alive(self) < 0 ? NULL : PyUnicode_FromFormat("<%s of %R>", name, self->wrapped);
}

/* Tell the callback; 0, or -1 with what it raised. */
static int tell(Wrapper *self, PyObject *const *args, size_t count)
{
    PyObject *ignored = PyObject_Vectorcall(self->callback, args, count, NULL);
    Py_XDECREF(ignored);
    return ignored == NULL ? -1 : 0;
}

#define WRAPPER_MEMBERS                                                                      \
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Wrapper, call), READONLY, NULL},           \
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Wrapper, weakrefs), READONLY, NULL}

#define WRAPPER_SLOTS                                                                        \
    {Py_tp_traverse, wrapper_traverse}, {Py_tp_clear, wrapper_clear},                        \
    {Py_tp_dealloc, wrapper_dealloc}, {Py_tp_call, PyVectorcall_Call}

#define WRAPPER_FLAGS                                                                        \
    (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL                    \
     | Py_TPFLAGS_IMMUTABLETYPE)

/* ---- AfterExec ---- */

static PyObject *after_call(PyObject *object, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    Wrapper *self = (Wrapper *)object;
    Py_ssize_t given = PyVectorcall_NARGS(nargsf);
    if (given != 1 || (kwnames != NULL && PyTuple_GET_SIZE(kwnames) > 0)) {
        PyErr_SetString(PyExc_TypeError,
                        "AfterExec.__call__() takes one positional argument: the module");
        return NULL;
    }
    if (check_alive(self) < 0) {
        return NULL;
    }
    PyObject *result = PyObject_Vectorcall(self->wrapped, args, nargsf, NULL);
    if (result != NULL && tell(self, args, nargsf) < 0) {
        Py_CLEAR(result);
    }
    return result;
}

static PyObject *after_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return wrapper_new(type, args, kwargs, "AfterExec", "original", after_call);
}

static PyObject *after_repr(PyObject *object)
{
    return wrapper_repr(object, "AfterExec");
}

static PyMemberDef after_members[] = {
    WRAPPER_MEMBERS,
    {"__wrapped__", T_OBJECT_EX, offsetof(Wrapper, wrapped), READONLY, "The original callable."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(after_doc,
    "AfterExec(original, callback, /)\n--\n\n"
    "Runs a module with ``original``, then hands the module to ``callback``.\n\n"
    "Fit to take the place of a loader's bound ``exec_module``.  The callback is not called when\n"
    "``original`` raises; what the callback raises propagates.");

static PyType_Slot after_slots[] = {
    WRAPPER_SLOTS,
    {Py_tp_doc, (void *)after_doc},
    {Py_tp_new, after_new},
    {Py_tp_repr, after_repr},
    {Py_tp_members, after_members},
    {0, NULL},
};

static PyType_Spec after_spec = {
    .name = "flor_trace._native.AfterExec",
    .basicsize = sizeof(Wrapper),
    .flags = WRAPPER_FLAGS,
    .slots = after_slots,
};

/* ---- Before ---- */

static PyObject *before_call(PyObject *object, PyObject *const *args, size_t nargsf,
                             PyObject *kwnames)
{
    Wrapper *self = (Wrapper *)object;
    if (check_alive(self) < 0 || tell(self, args, nargsf) < 0) {
        return NULL;
    }
    return PyObject_Vectorcall(self->wrapped, args, nargsf, kwnames);
}

static PyObject *before_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return wrapper_new(type, args, kwargs, "Before", "function", before_call);
}

static PyObject *before_repr(PyObject *object)
{
    return wrapper_repr(object, "Before");
}

static PyObject *before_get(PyObject *self, PyObject *instance, PyObject *Py_UNUSED(owner))
{
    if (instance == NULL || instance == Py_None) {
        return Py_NewRef(self);
    }
    return PyMethod_New(self, instance);
}

static int is_named(PyObject *name, const char *text)
{
    return PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, text) == 0;
}

static PyObject *before_getattr(PyObject *object, PyObject *name)
{
    Wrapper *self = (Wrapper *)object;
    if (check_alive(self) < 0) {
        return NULL;
    }
    /* The type has a __doc__ and a __module__ of its own, which would be found first. */
    if (!is_named(name, "__doc__") && !is_named(name, "__module__")) {
        PyObject *own = PyObject_GenericGetAttr(object, name);
        if (own != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return own;
        }
        PyErr_Clear();
    }
    return PyObject_GetAttr(self->wrapped, name);
}

static int before_setattr(PyObject *object, PyObject *name, PyObject *value)
{
    Wrapper *self = (Wrapper *)object;
    if (check_alive(self) < 0) {
        return -1;
    }
    if (is_named(name, "__wrapped__")) {
        PyErr_Format(PyExc_AttributeError, "'__wrapped__' of a Before cannot be %s: make another one",
                     value == NULL ? "deleted" : "set");
        return -1;
    }
    return PyObject_SetAttr(self->wrapped, name, value);
}

static PyObject *before_reduce(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Wrapper *self = (Wrapper *)object;
    return check_alive(self) < 0 ? NULL : PyObject_GetAttrString(self->wrapped, "__qualname__");
}

static PyMemberDef before_members[] = {
    WRAPPER_MEMBERS,
    {"__wrapped__", T_OBJECT_EX, offsetof(Wrapper, wrapped), READONLY, "The function."},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef before_methods[] = {
    {"__reduce__", before_reduce, METH_NOARGS,
     "Return the name under which pickle and copy find this very object."},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(before_doc,
    "Before(function, callback, /)\n--\n\n"
    "Calls ``callback`` with the positional arguments, then ``function`` with all of them.\n\n"
    "Binds like a function, and reads and writes of attributes other than ``__wrapped__`` reach\n"
    "the function, so that a method can be replaced without anyone noticing.");

static PyType_Slot before_slots[] = {
    WRAPPER_SLOTS,
    {Py_tp_doc, (void *)before_doc},
    {Py_tp_new, before_new},
    {Py_tp_repr, before_repr},
    {Py_tp_descr_get, before_get},
    {Py_tp_getattro, before_getattr},
    {Py_tp_setattro, before_setattr},
    {Py_tp_members, before_members},
    {Py_tp_methods, before_methods},
    {0, NULL},
};

static PyType_Spec before_spec = {
    .name = "flor_trace._native.Before",
    .basicsize = sizeof(Wrapper),
    .flags = WRAPPER_FLAGS | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .slots = before_slots,
};

/* ---- Unseen ---- */

static PyObject *unseen_call(PyObject *object, PyObject *const *args, size_t nargsf,
                             PyObject *kwnames)
{
    Wrapper *self = (Wrapper *)object;
    if (check_alive(self) < 0) {
        return NULL;
    }
    PyThreadState *thread = PyThreadState_Get();
    PyObject *function = Py_NewRef(self->wrapped);
    PyThreadState_EnterTracing(thread);
    PyObject *result = PyObject_Vectorcall(function, args, nargsf, kwnames);
    PyThreadState_LeaveTracing(thread);
    Py_DECREF(function);
    return result;
}

static PyObject *unseen_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *function;
    if (!PyArg_UnpackTuple(args, "Unseen", 1, 1, &function)) {
        return NULL;
    }
    PyObject *twice = PyTuple_Pack(2, function, function);
    if (twice == NULL) {
        return NULL;
    }
    PyObject *made = wrapper_new(type, twice, kwargs, "Unseen", "function", unseen_call);
    Py_DECREF(twice);
    return made;
}

static PyObject *unseen_repr(PyObject *object)
{
    return wrapper_repr(object, "Unseen");
}

PyDoc_STRVAR(unseen_doc,
    "Unseen(function, /)\n--\n\n"
    "Calls ``function`` where no trace or profile function and no monitoring tool sees it.\n\n"
    "Binds like a function.");

static PyType_Slot unseen_slots[] = {
    WRAPPER_SLOTS,
    {Py_tp_doc, (void *)unseen_doc},
    {Py_tp_new, unseen_new},
    {Py_tp_repr, unseen_repr},
    {Py_tp_descr_get, before_get},
    {Py_tp_members, after_members},
    {0, NULL},
};

static PyType_Spec unseen_spec = {
    .name = "flor_trace._native.Unseen",
    .basicsize = sizeof(Wrapper),
    .flags = WRAPPER_FLAGS | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .slots = unseen_slots,
};

static int add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int status = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return status;
}

int flor_add_wrappers(PyObject *module)
{
    if (add_type(module, &after_spec) < 0 || add_type(module, &before_spec) < 0) {
        return -1;
    }
    return add_type(module, &unseen_spec);
}
