/* Sites and the iterators that stand for running loops. */
#ifndef FLOR_LOOPS_H
#define FLOR_LOOPS_H

#include <stddef.h>

#include "columns.h"

enum { FLOR_FOR = 0, FLOR_WHILE = 1 };
enum { FLOR_REPORT = 0, FLOR_RAW = 1 };

/* INERT never reports; PENDING waits for GET_ITER; LIVE is in the ring; ENDED has been counted. */
enum { FLOR_INERT, FLOR_PENDING, FLOR_LIVE, FLOR_ENDED };

typedef struct FlorState FlorState;

/* A place in the ring of live loops, which is in the order of entry. */
typedef struct FlorLink {
    struct FlorLink *previous, *next;
} FlorLink;

typedef struct {
    PyObject_HEAD
    FlorState *state;
    PyObject *info;
    int kind, mode;
    long long entries, iterations;
} Site;

typedef struct {
    PyObject_HEAD
    FlorLink link; /* of live loops */
    Site *site;
    PyObject *inner;    /* the iterable while PENDING, then its iterator; NULL for `while` */
    PyObject *tag;      /* NULL for None */
    Columns *rows;      /* filled at every boundary, or NULL */
    FlorFrame *frame;   /* never followed unless it is found on the thread's stack */
    PyCodeObject *code; /* of that frame, borrowed: only compared */
    long long n, offset; /* n - offset iterations were really started */
    unsigned long long handler;
    char life, quiet, loud, reported; /* loud: LIVE and not quiet and not orphaned */
} LoopIter;

static inline LoopIter *
flor_of_link(FlorLink *link)
{
    return (LoopIter *)((char *)link - offsetof(LoopIter, link));
}

/* Everything of one import of the module. */
struct FlorState {
    PyTypeObject *site_type, *loop_type, *columns_type, *span_type;
    PyObject *unbound;
    PyObject *exhausted, *left, *raised;
    PyObject *boundary, *leave;   /* both NULL when no handler is set */
    unsigned long long handler;   /* counts the calls of set_handler */
    FlorLink loops;               /* the head of the ring of live loops */
    LoopIter *spare[32];          /* freed instances: reuse leaves the collector's counts alone */
    int spares;
};

static inline FlorState *
flor_state(PyObject *module)
{
    return (FlorState *)PyModule_GetState(module);
}

/* A loop of `site` over `iterable` (NULL for `while`) in state `life`; a new reference or NULL. */
LoopIter *flor_loop_new(Site *site, PyObject *iterable, char life);
/* The frame of a LoopIter while it runs; NULL, with an exception if `op` is something else. */
FlorFrame *flor_loop_frame(FlorState *state, PyObject *op);
/* Put a new loop among the live ones. */
void flor_loop_start(LoopIter *loop);
/* The slots of LoopIter. */
PyObject *flor_loop_iter(PyObject *op);
PyObject *flor_loop_next(PyObject *op);
PyObject *flor_loop_tick(PyObject *op);
PyObject *flor_loop_exit(PyObject *op);
/* The same signs, given to the site by code that cannot reach its sentinel on the stack. */
PyObject *flor_site_tick(PyObject *op);
PyObject *flor_site_exit(PyObject *op);
int flor_loop_traverse(PyObject *op, visitproc visit, void *arg);
int flor_loop_clear(PyObject *op);
void flor_loop_finalize(PyObject *op);
void flor_loop_dealloc(PyObject *op);

void flor_loops_free_spares(FlorState *state);

PyObject *flor_set_handler(PyObject *module, PyObject *args);
PyObject *flor_running(PyObject *module, PyObject *unused);

extern PyType_Spec flor_site_spec, flor_loop_spec;

#endif
