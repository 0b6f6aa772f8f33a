/* Runs a program as the interpreter runs a main program: nothing of ours is on its stack. */
#include "run_main.h"

/* What a shell says of a program that SIGINT has ended. */
#define FLOR_INTERRUPTED 130

static void
flush(const char *name)
{
    PyObject *stream = PySys_GetObject(name);
    if (stream == NULL) {
        return;
    }
    Py_INCREF(stream);
    PyObject *result = PyObject_CallMethod(stream, "flush", NULL);
    if (result == NULL) {
        PyErr_Clear(); /* as the interpreter does: it is said again at exit, if it lasts */
    }
    Py_XDECREF(result);
    Py_DECREF(stream);
}

/* The interpreter flushes both streams after a script, before it prints a traceback; not after
   `-c`, whose code is that of "<string>", and not after `-m`. */
static void
flush_after(PyObject *what)
{
    if (PyCode_Check(what)
        && PyUnicode_CompareWithASCIIString(((PyCodeObject *)what)->co_filename, "<string>")) {
        FlorError error = flor_take_error();
        flush("stderr");
        flush("stdout");
        flor_give_error(error);
    }
}

static int
add_builtins(PyObject *globals)
{
    PyObject *name = PyUnicode_InternFromString("__builtins__");
    int found = name == NULL ? -1 : PyDict_Contains(globals, name);
    if (found == 0) {
        found = PyDict_SetItem(globals, name, PyEval_GetBuiltins());
    }
    Py_XDECREF(name);
    return found < 0 ? -1 : 0;
}

static PyObject *
evaluate(PyObject *what, PyObject *arguments)
{
    if (!PyCode_Check(what)) {
        return PyObject_Call(what, arguments, NULL);
    }
    return add_builtins(arguments) < 0 ? NULL : PyEval_EvalCode(what, arguments, arguments);
}

static void
tell(PyThreadState *thread, PyObject *on_error)
{
    PyObject *exception = flor_raised();
    FlorError error = flor_take_error();
    PyThreadState_EnterTracing(thread);
    PyObject *result = PyObject_CallOneArg(on_error, exception);
    if (result == NULL) {
        PyErr_WriteUnraisable(on_error);
    }
    PyThreadState_LeaveTracing(thread);
    Py_XDECREF(result);
    Py_DECREF(exception);
    flor_give_error(error);
}

/* An uncaught KeyboardInterrupt ends a program by SIGINT, after everything is closed.  The interpreter
   notes it where it runs source text as a main program, which a caller from outside reaches only by
   running some. */
static void
note_interrupt(PyThreadState *thread)
{
    PyObject *globals = PyDict_New();
    if (globals != NULL) {
        PyThreadState_EnterTracing(thread);
        Py_XDECREF(PyRun_String("raise KeyboardInterrupt", Py_file_input, globals, globals));
        PyThreadState_LeaveTracing(thread);
        Py_DECREF(globals);
    }
    PyErr_Clear();
}

/* With `-i` an exit does not end the process, but is printed. */
static int
inspecting(void)
{
    PyObject *flags = PySys_GetObject("flags"); /* borrowed */
    PyObject *inspect = flags == NULL ? NULL : PyObject_GetAttrString(flags, "inspect");
    int truth = inspect == NULL ? 0 : PyObject_IsTrue(inspect);
    Py_XDECREF(inspect);
    return truth > 0;
}

/* Print what a program gives to sys.exit() as the interpreter does, and return the exit status. */
static PyObject *
told_exit(PyObject *code)
{
    if (code == Py_None || PyLong_Check(code)) {
        return Py_NewRef(code);
    }
    PyObject *stream = PySys_GetObject("stderr");
    Py_XINCREF(stream);
    if (stream != NULL && stream != Py_None) {
        PyFile_WriteObject(code, stream, Py_PRINT_RAW);
    }
    else {
        PyObject_Print(code, stderr, Py_PRINT_RAW);
        fflush(stderr);
    }
    PyErr_Clear();
    PySys_WriteStderr("\n");
    Py_XDECREF(stream);
    return PyLong_FromLong(1);
}

/* The interpreter exits where it meets a SystemExit.  Here callers of ours lie below, and what they
   hold would stay alive while everything is torn down: they are left by an exception of ours,
   after the program's own, with all its frames, is gone as it is there. */
static void
renew_exit(void)
{
    fflush(stdout);
    PyObject *exit = flor_raised();
    FlorError error = flor_take_error();
    PyObject *code = PyObject_GetAttrString(exit, "code");
    if (code == NULL) {
        PyErr_Clear();
        code = Py_NewRef(exit);
    }
    Py_DECREF(exit);
    PyObject *status = FLOR_EXIT_TELLS_FIRST ? told_exit(code) : Py_NewRef(code);
    Py_DECREF(code);
    flor_give_error(error);
    PyErr_Clear();
    PyObject *fresh = status == NULL ? NULL : PyObject_CallOneArg(PyExc_SystemExit, status);
    Py_XDECREF(status);
    if (fresh != NULL) {
        PyErr_SetObject(PyExc_SystemExit, fresh);
        Py_DECREF(fresh);
    }
}

/* Returns the exit status, or -1 with a SystemExit. */
static int
run(PyThreadState *thread, PyObject *what, PyObject *arguments, PyObject *on_error)
{
    PyObject *result = evaluate(what, arguments);
    flush_after(what);
    if (result != NULL) {
        Py_DECREF(result);
        return 0;
    }
    int interrupted = PyErr_Occurred() == PyExc_KeyboardInterrupt;
    tell(thread, on_error);
    if (PyErr_ExceptionMatches(PyExc_SystemExit) && !inspecting()) {
        renew_exit();
        return -1;
    }
    PyErr_Print();
    if (interrupted) {
        note_interrupt(thread);
        return FLOR_INTERRUPTED;
    }
    return 1;
}

static int
check(PyObject *what, PyObject *arguments, PyObject *on_error)
{
    if (PyCode_Check(what)) {
        if (!PyDict_Check(arguments)) {
            PyErr_SetString(PyExc_TypeError, "run_main() of code needs a dict of globals");
            return -1;
        }
        if (((PyCodeObject *)what)->co_nfreevars > 0) {
            PyErr_SetString(PyExc_TypeError, "run_main() of code with free variables");
            return -1;
        }
    }
    else if (!PyCallable_Check(what) || !PyTuple_Check(arguments)) {
        PyErr_SetString(PyExc_TypeError,
                        "run_main() needs code and a dict, or a callable and a tuple");
        return -1;
    }
    if (!PyCallable_Check(on_error)) {
        PyErr_SetString(PyExc_TypeError, "run_main() needs a callable to tell of an exception");
        return -1;
    }
    return 0;
}

PyObject *
flor_run_main(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *what, *arguments, *on_error;
    if (!PyArg_ParseTuple(args, "OOO:run_main", &what, &arguments, &on_error)
        || check(what, arguments, on_error) < 0) {
        return NULL;
    }
    PyThreadState *thread = flor_thread();
    FlorFrame *below = flor_top_frame(thread);
    FlorRecursion recursion = flor_recursion_renew(thread);
    flor_set_top_frame(thread, NULL);
    int status = run(thread, what, arguments, on_error);
    flor_set_top_frame(thread, below);
    flor_recursion_restore(thread, recursion);
    return status < 0 ? NULL : PyLong_FromLong(status);
}
