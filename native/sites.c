/* The constant that stands in rewritten code for one loop statement. */
#include "loops.h"

#include <stddef.h>
#include <structmember.h> /* after Python.h, which it needs before 3.12 */

static int
reports(const Site *self)
{
    return self->mode == FLOR_REPORT && self->state->boundary != NULL;
}

static PyObject *
site_subscript(PyObject *op, PyObject *iterable)
{
    Site *self = (Site *)op;
    if (self->kind != FLOR_FOR) {
        PyErr_SetString(PyExc_TypeError, "a while site has no items; iter(site) begins its loop");
        return NULL;
    }
    if (!reports(self)) {
        return Py_NewRef(iterable);
    }
    return (PyObject *)flor_loop_new(self, iterable, FLOR_PENDING);
}

static PyObject *
site_iter(PyObject *op)
{
    Site *self = (Site *)op;
    if (self->kind != FLOR_WHILE) {
        PyErr_SetString(PyExc_TypeError, "a for site begins its loop by site[iterable]");
        return NULL;
    }
    int reporting = reports(self);
    LoopIter *loop = flor_loop_new(self, NULL, reporting ? FLOR_PENDING : FLOR_INERT);
    if (loop != NULL && reporting) {
        flor_loop_start(loop);
    }
    return (PyObject *)loop;
}

static int
valid(const char *what, int value)
{
    if (value == 0 || value == 1) {
        return 1;
    }
    PyErr_Format(PyExc_ValueError, "%s must be 0 or 1, not %d", what, value);
    return 0;
}

static PyObject *
site_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"info", "kind", "mode", NULL};
    PyObject *info;
    int kind, mode = FLOR_REPORT;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "Oi|i:Site", names, &info, &kind, &mode)
        || !valid("kind", kind) || !valid("mode", mode)) {
        return NULL;
    }
    Site *self = (Site *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->state = PyType_GetModuleState(type);
        self->info = Py_NewRef(info);
        self->kind = kind;
        self->mode = mode;
    }
    return (PyObject *)self;
}

static int
site_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((Site *)op)->info);
    return 0;
}

static int
site_clear(PyObject *op)
{
    Py_CLEAR(((Site *)op)->info);
    return 0;
}

static void
site_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    site_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
site_repr(PyObject *op)
{
    Site *self = (Site *)op;
    return PyUnicode_FromFormat("<Site of a %s loop>", self->kind == FLOR_FOR ? "for" : "while");
}

static PyObject *
site_reduce(PyObject *op, PyObject *Py_UNUSED(unused))
{
    return Py_BuildValue("O(Oii)", Py_TYPE(op), Py_None, ((Site *)op)->kind, FLOR_RAW);
}

static PyObject *
get_mode(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(((Site *)op)->mode);
}

static int
set_mode(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "mode cannot be deleted");
        return -1;
    }
    int mode = (int)PyLong_AsLong(value);
    if (PyErr_Occurred() || !valid("mode", mode)) {
        return -1;
    }
    ((Site *)op)->mode = mode;
    return 0;
}

static PyMethodDef methods[] = {
    {"__reduce__", site_reduce, METH_NOARGS,
     PyDoc_STR("__reduce__($self, /)\n--\n\n"
               "A site of the same kind that reports nothing, for code sent elsewhere.")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"info", T_OBJECT, offsetof(Site, info), READONLY,
     PyDoc_STR("What the site was made with.")},
    {"kind", T_INT, offsetof(Site, kind), READONLY, PyDoc_STR("0 for `for`, 1 for `while`.")},
    {"entries", T_LONGLONG, offsetof(Site, entries), READONLY,
     PyDoc_STR("How many reported instances of the loop have ended.")},
    {"iterations", T_LONGLONG, offsetof(Site, iterations), READONLY,
     PyDoc_STR("How many iterations those instances began.")},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef computed[] = {
    {"mode", get_mode, set_mode,
     PyDoc_STR("0: its loops are reported; 1: they run untouched from their next entry on."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(doc, "Site(info, kind, mode=0)\n--\n\n"
                  "One loop statement of rewritten code.\n\n"
                  "`site[iterable]` stands for the iterable of a `for` (kind 0), `iter(site)` is "
                  "the\nsentinel of a `while` (kind 1).  `~site` and `-site` give the sentinel's "
                  "signs to the\nloop that runs in the calling frame.");

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)doc},
    {Py_tp_new, site_new},
    {Py_tp_dealloc, site_dealloc},
    {Py_tp_traverse, site_traverse},
    {Py_tp_clear, site_clear},
    {Py_tp_repr, site_repr},
    {Py_tp_iter, site_iter},
    {Py_mp_subscript, site_subscript},
    {Py_nb_invert, flor_site_tick},
    {Py_nb_negative, flor_site_exit},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, computed},
    {0, NULL},
};

/* Named for the module that chooses between the twins: a pickled site finds its way there. */
PyType_Spec flor_site_spec = {
    .name = "flor_trace._speedups.Site",
    .basicsize = sizeof(Site),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
