/* The table of what `flor_trace._native` holds. */
#include "describer.h"
#include "document.h"
#include "frames.h"
#include "generators.h"
#include "hash.h"
#include "loops.h"
#include "pack.h"
#include "planes.h"
#include "run_main.h"
#include "tensors.h"
#include "walk.h"
#include "wrappers.h"

static PyObject *
unbound_repr(PyObject *Py_UNUSED(self))
{
    return PyUnicode_FromString("<unbound>");
}

static PyType_Slot unbound_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The type of UNBOUND, which stands for a variable without value.")},
    {Py_tp_repr, unbound_repr},
    {0, NULL},
};

static PyType_Spec unbound_spec = {
    .name = "flor_trace._speedups.Unbound",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = unbound_slots,
};

static PyTypeObject *
add_type(PyObject *module, PyType_Spec *spec)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, type) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

static PyObject *
make_unbound(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &unbound_spec, NULL);
    if (type == NULL) {
        return NULL;
    }
    PyObject *unbound = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
    Py_DECREF(type);
    return unbound;
}

static int
module_exec(PyObject *module)
{
    FlorState *state = flor_state(module);
    state->loops.previous = state->loops.next = &state->loops;
    if ((state->site_type = add_type(module, &flor_site_spec)) == NULL
        || (state->loop_type = add_type(module, &flor_loop_spec)) == NULL
        || (state->columns_type = add_type(module, &flor_columns_spec)) == NULL
        || (state->unbound = make_unbound(module)) == NULL
        || (state->exhausted = PyUnicode_InternFromString("exhausted")) == NULL
        || (state->left = PyUnicode_InternFromString("left")) == NULL
        || (state->raised = PyUnicode_InternFromString("raised")) == NULL
        || PyModule_AddObjectRef(module, "UNBOUND", state->unbound) < 0
        || flor_add_hash(module) < 0
        || flor_add_tensors(module) < 0
        || flor_add_walk(module) < 0
        || flor_add_document(module) < 0
        || flor_add_describer(module) < 0
        || flor_add_pack(module) < 0
        || flor_add_planes(module) < 0) {
        return -1;
    }
    return flor_add_wrappers(module);
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    FlorState *state = flor_state(module);
    Py_VISIT(state->site_type);
    Py_VISIT(state->loop_type);
    Py_VISIT(state->columns_type);
    Py_VISIT(state->span_type);
    Py_VISIT(state->unbound);
    Py_VISIT(state->boundary);
    Py_VISIT(state->leave);
    return 0;
}

static int
module_clear(PyObject *module)
{
    FlorState *state = flor_state(module);
    Py_CLEAR(state->boundary);
    Py_CLEAR(state->leave);
    return 0;
}

/* Loops and sites keep the module alive through their types, so none is left here. */
static void
module_free(void *module)
{
    FlorState *state = flor_state(module);
    module_clear(module);
    flor_loops_free_spares(state);
    Py_CLEAR(state->site_type);
    Py_CLEAR(state->loop_type);
    Py_CLEAR(state->columns_type);
    Py_CLEAR(state->span_type);
    Py_CLEAR(state->unbound);
    Py_CLEAR(state->exhausted);
    Py_CLEAR(state->left);
    Py_CLEAR(state->raised);
}

static PyMethodDef methods[] = {
    {"set_handler", flor_set_handler, METH_VARARGS,
     PyDoc_STR("set_handler($module, boundary, leave, /)\n--\n\n"
               "Call these for the loops of all threads from now on; None twice: nothing.")},
    {"running", flor_running, METH_NOARGS,
     PyDoc_STR("running($module)\n--\n\n"
               "The reported loops that the calling thread is in, outermost first.")},
    {"frames", flor_frames, METH_O,
     PyDoc_STR("frames($module, filenames, /)\n--\n\n"
               "(code, globals, locals, cells) of the calling thread's frames of code from these "
               "files,\ninnermost first.")},
    {"read_generator", flor_read_generator, METH_O,
     PyDoc_STR("read_generator($module, generator, /)\n--\n\n"
               "(code, globals, offset of the yield or -1, variables, stack, whether it handles "
               "an\nexception); None of one that runs or has ended.")},
    {"write_generator", flor_write_generator, METH_VARARGS,
     PyDoc_STR("write_generator($module, generator, offset, variables, stack, /)\n--\n\n"
               "Let the generator stand there, with these; return what it held, to be let go.")},
    {"run_main", flor_run_main, METH_VARARGS,
     PyDoc_STR("run_main($module, what, arguments, on_error, /)\n--\n\n"
               "Evaluate code with globals, or call a callable with a tuple, as the program of "
               "this\nprocess; return 0, or 1 when an exception ended it.")},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "flor_trace._native",
    .m_doc = PyDoc_STR("The C twins of flor_trace's hot functions."),
    .m_size = sizeof(FlorState),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
