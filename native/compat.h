/* What differs between the supported versions of CPython, named for what it does.

   The only file that asks for the version, and the only one that includes internal headers: the
   layout of a running frame is not public in any version, and a trainer's loop is read from it at
   every boundary without the side effects of `frame.f_locals`. */
#ifndef FLOR_COMPAT_H
#define FLOR_COMPAT_H

#ifndef PY_SSIZE_T_CLEAN
#define PY_SSIZE_T_CLEAN
#endif
#include <Python.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wpedantic"
#define Py_BUILD_CORE_MODULE 1
#define Py_BUILD_CORE 1
#include <internal/pycore_code.h>
#include <internal/pycore_frame.h>
#if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030D0000
#include <internal/pycore_time.h>
#endif
#undef Py_BUILD_CORE
#undef Py_BUILD_CORE_MODULE
#pragma GCC diagnostic pop

#if PY_VERSION_HEX < 0x030B0000 || PY_VERSION_HEX >= 0x030E0000
#error "the layout of frames is known for CPython 3.11, 3.12 and 3.13 only"
#endif

typedef struct _PyInterpreterFrame FlorFrame;

/* What a program gives to sys.exit() is printed before its frames are let go (3.11), or after. */
#define FLOR_EXIT_TELLS_FIRST (PY_VERSION_HEX < 0x030C0000)

#ifndef CO_FAST_HIDDEN /* 3.12: the variable of a comprehension inlined into a module or class */
#define CO_FAST_HIDDEN 0
#endif

static inline PyThreadState *
flor_thread(void)
{
    return _PyThreadState_UncheckedGet();
}

static inline FlorFrame *
flor_top_frame(PyThreadState *thread)
{
#if PY_VERSION_HEX >= 0x030D0000
    return thread->current_frame;
#else
    return thread->cframe->current_frame;
#endif
}

static inline void
flor_set_top_frame(PyThreadState *thread, FlorFrame *frame)
{
#if PY_VERSION_HEX >= 0x030D0000
    thread->current_frame = frame;
#else
    thread->cframe->current_frame = frame;
#endif
}

/* Whether a frame runs Python code whose variables are in place: not an entry from C, and past the
   instructions that make its cells. */
static inline int
flor_frame_is_complete(FlorFrame *frame)
{
#if PY_VERSION_HEX >= 0x030C0000
    if (frame->owner == FRAME_OWNED_BY_CSTACK) {
        return 0;
    }
#endif
    return !_PyFrame_IsIncomplete(frame);
}

/* The version of an exact dict, which no two contents share; 0 for one whose values an instance may
   change behind its back. */
static inline int
flor_dict_version(PyObject *op, uint64_t *version)
{
    PyDictObject *dict = (PyDictObject *)op;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    *version = dict->ma_version_tag;
#pragma GCC diagnostic pop
    return dict->ma_values == NULL;
}

/* Borrowed; only of a complete frame. */
static inline PyCodeObject *
flor_frame_code(FlorFrame *frame)
{
#if PY_VERSION_HEX >= 0x030D0000
    return _PyFrame_GetCode(frame);
#else
    return frame->f_code;
#endif
}

/* Where the `yield` is, in bytes of code, at which a suspended generator stands. */
static inline Py_ssize_t
flor_yield_offset(FlorFrame *frame, PyCodeObject *code)
{
#if PY_VERSION_HEX >= 0x030D0000
    return (frame->instr_ptr - 1 - _PyCode_CODE(code)) * (Py_ssize_t)sizeof(_Py_CODEUNIT);
#else
    return (frame->prev_instr - _PyCode_CODE(code)) * (Py_ssize_t)sizeof(_Py_CODEUNIT);
#endif
}

/* Let a generator that is not running stand at the `yield` at `offset`. */
static inline void
flor_stand_at_yield(PyGenObject *generator, PyCodeObject *code, Py_ssize_t offset)
{
    FlorFrame *frame = (FlorFrame *)generator->gi_iframe;
    _Py_CODEUNIT *yield = _PyCode_CODE(code) + offset / (Py_ssize_t)sizeof(_Py_CODEUNIT);
#if PY_VERSION_HEX >= 0x030D0000
    frame->instr_ptr = yield + 1;
    generator->gi_frame_state = yield->op.arg == 0 ? FRAME_SUSPENDED : FRAME_SUSPENDED_YIELD_FROM;
#else
    frame->prev_instr = yield;
    generator->gi_frame_state = FRAME_SUSPENDED;
#endif
}

/* Seconds of the clock that `time.perf_counter` reads. */
static inline double
flor_perf_counter(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyTime_t now;
    (void)PyTime_PerfCounterRaw(&now);
#else
    _PyTime_t now = _PyTime_GetPerfCounter();
#endif
    return (double)now * 1e-9;
}

/* The budget of nested Python calls, and from 3.12 on that of nested C calls. */
typedef struct {
    int used;
    int c_remaining;
} FlorRecursion;

static inline int
flor_recursion_left(PyThreadState *thread)
{
#if PY_VERSION_HEX >= 0x030C0000
    int python = thread->py_recursion_remaining, c = thread->c_recursion_remaining;
    return python < c ? python : c;
#else
    return thread->recursion_remaining;
#endif
}

/* Give the thread the budget it has when nothing runs; returns what `flor_recursion_restore`
   needs to take it back. */
static inline FlorRecursion
flor_recursion_renew(PyThreadState *thread)
{
    FlorRecursion before = {0, 0};
#if PY_VERSION_HEX >= 0x030D0000
    const int c_limit = Py_C_RECURSION_LIMIT;
#elif PY_VERSION_HEX >= 0x030C0000
    const int c_limit = C_RECURSION_LIMIT;
#endif
#if PY_VERSION_HEX >= 0x030C0000
    before.used = thread->py_recursion_limit - thread->py_recursion_remaining;
    before.c_remaining = thread->c_recursion_remaining;
    thread->py_recursion_remaining = thread->py_recursion_limit;
    thread->c_recursion_remaining = c_limit;
#else
    before.used = thread->recursion_limit - thread->recursion_remaining;
    thread->recursion_remaining = thread->recursion_limit;
#endif
    return before;
}

/* The limit itself may have been changed meanwhile and stays so. */
static inline void
flor_recursion_restore(PyThreadState *thread, FlorRecursion before)
{
#if PY_VERSION_HEX >= 0x030C0000
    thread->py_recursion_remaining = thread->py_recursion_limit - before.used;
    thread->c_recursion_remaining = before.c_remaining;
#else
    thread->recursion_remaining = thread->recursion_limit - before.used;
#endif
}

/* The error indicator, set aside as it is: normalising may run the program's code. */
#if PY_VERSION_HEX >= 0x030C0000
typedef PyObject *FlorError;
#else
typedef struct {
    PyObject *type, *value, *traceback;
} FlorError;
#endif

static inline FlorError
flor_take_error(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    FlorError error;
    PyErr_Fetch(&error.type, &error.value, &error.traceback);
    return error;
#endif
}

static inline void
flor_give_error(FlorError error)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(error.type, error.value, error.traceback);
#endif
}

/* The exception being raised, which stays raised: a new reference. */
static inline PyObject *
flor_raised(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *error = PyErr_GetRaisedException();
    PyErr_SetRaisedException(Py_NewRef(error));
    return error;
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    PyErr_Restore(type, Py_NewRef(value), traceback);
    return value;
#endif
}

#endif
