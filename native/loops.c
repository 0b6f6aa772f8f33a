/* The iterator that stands for a running loop: on the value stack of its frame, so that the
   interpreter itself tells of every iteration (next) and of every kind of exit (deallocation). */
#include "frames.h"
#include "loops.h"

enum { RECURSION_NEEDED = 100 };

LoopIter *
flor_loop_new(Site *site, PyObject *iterable, char life)
{
    FlorState *state = site->state;
    LoopIter *self;
    if (state->spares > 0) {
        self = state->spare[--state->spares];
        PyObject_Init((PyObject *)self, state->loop_type);
    }
    else {
        self = PyObject_GC_New(LoopIter, state->loop_type);
        if (self == NULL) {
            return NULL;
        }
    }
    self->link.previous = self->link.next = NULL;
    self->site = (Site *)Py_NewRef((PyObject *)site);
    self->inner = Py_XNewRef(iterable);
    self->tag = NULL;
    self->rows = NULL;
    self->frame = NULL;
    self->code = NULL;
    self->n = self->offset = 0;
    self->handler = state->handler;
    self->life = life;
    self->quiet = self->loud = self->reported = 0;
    PyObject_GC_Track((PyObject *)self);
    return self;
}

void
flor_loop_start(LoopIter *self)
{
    FlorLink *head = &self->site->state->loops;
    self->life = FLOR_LIVE;
    self->loud = !self->quiet;
    self->frame = flor_top_frame(flor_thread());
    self->code = self->frame == NULL ? NULL : flor_frame_code(self->frame);
    self->link.next = head;
    self->link.previous = head->previous;
    head->previous->next = &self->link;
    head->previous = &self->link;
}

/* Count a live loop as over and take it out of the ring. */
static void
end(LoopIter *self)
{
    self->life = FLOR_ENDED;
    self->loud = 0;
    self->site->entries++;
    self->site->iterations += self->n - self->offset;
    self->link.previous->next = self->link.next;
    self->link.next->previous = self->link.previous;
}

/* Whether the handler can be called for this loop now.  A loop that began under another handler
   only counts from now on; near the recursion limit it does so for once. */
static int
can_report(LoopIter *self)
{
    FlorState *state = self->site->state;
    if (state->boundary == NULL || state->handler != self->handler) {
        self->loud = 0;
        return 0;
    }
    return flor_recursion_left(flor_thread()) >= RECURSION_NEEDED;
}

/* Call a part of the handler where no trace or profile function sees it. */
static PyObject *
call_unseen(PyObject *callable, PyObject *const *arguments, size_t count)
{
    PyThreadState *thread = flor_thread();
    Py_INCREF(callable);
    PyThreadState_EnterTracing(thread);
    PyObject *result = PyObject_Vectorcall(callable, arguments, count, NULL);
    PyThreadState_LeaveTracing(thread);
    Py_DECREF(callable);
    return result;
}

/* An exit cannot raise: the interrupt is delivered again, anything else goes to the hook. */
static void
report_leave(LoopIter *self, PyObject *how)
{
    PyObject *leave = Py_NewRef(self->site->state->leave);
    PyObject *arguments[] = {(PyObject *)self, how};
    PyObject *result = call_unseen(leave, arguments, 2);
    if (result != NULL) {
        Py_DECREF(result);
    }
    else if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();
        PyErr_SetInterrupt();
    }
    else {
        PyErr_WriteUnraisable(leave);
    }
    Py_DECREF(leave);
}

/* End a live loop and tell the handler if it knows of it; keeps the error indicator. */
static void
end_and_report(LoopIter *self, PyObject *how)
{
    if (self->life != FLOR_LIVE) {
        return;
    }
    int known = self->loud && self->reported && can_report(self);
    end(self);
    if (known) {
        FlorError error = flor_take_error();
        report_leave(self, how);
        flor_give_error(error);
    }
}

/* Fill the rows; 1 when the handler is to be called, 0 when not, -1 with an exception. */
static int
add_row(LoopIter *self)
{
    FlorFrame *frame = flor_top_frame(flor_thread());
    if (self->rows == NULL || self->n == 0 || frame != self->frame
        || !flor_frame_is_complete(frame) || flor_frame_code(frame) != self->code) {
        return 1;
    }
    Columns *rows = (Columns *)Py_NewRef((PyObject *)self->rows); /* the reader may run anything */
    int due = flor_columns_boundary(rows, frame, self->n - 1);
    Py_DECREF(rows);
    return due;
}

/* 0, or -1 with the exception that the handler raised. */
static int
report_boundary(LoopIter *self)
{
    if (!can_report(self)) {
        return 0;
    }
    self->reported = 1;
    int due = add_row(self);
    if (due == 0) {
        return 0;
    }
    PyObject *arguments[] = {(PyObject *)self};
    PyObject *result = due < 0 ? NULL : call_unseen(self->site->state->boundary, arguments, 1);
    if (result == NULL) {
        /* The traceback keeps this object: its deallocation would come too late. */
        end_and_report(self, self->site->state->raised);
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

static PyObject *
how_it_is_left(FlorState *state)
{
    PyObject *error = PyErr_Occurred();
    if (error == NULL || PyErr_GivenExceptionMatches(error, PyExc_GeneratorExit)) {
        return state->left;
    }
    return state->raised;
}

PyObject *
flor_loop_iter(PyObject *op)
{
    LoopIter *self = (LoopIter *)op;
    if (self->life == FLOR_PENDING) {
        PyObject *inner = PyObject_GetIter(self->inner);
        if (inner == NULL) {
            return NULL;
        }
        Py_SETREF(self->inner, inner);
        flor_loop_start(self);
    }
    return Py_NewRef(op);
}

static void
exhausted(LoopIter *self)
{
    PyObject *error = PyErr_Occurred();
    if (error == NULL || PyErr_GivenExceptionMatches(error, PyExc_StopIteration)) {
        end_and_report(self, self->site->state->exhausted);
    }
}

/* Put the iterator into the place of a loop that is never reported again, so that the rest of it
   costs nothing: FOR_ITER looks for what it iterates on the stack anew each time. */
static void
let_go(LoopIter *self)
{
    FlorFrame *frame = flor_top_frame(flor_thread());
    if (frame != self->frame || !flor_frame_is_complete(frame)
        || flor_frame_code(frame) != self->code) {
        return;
    }
    PyObject **slot = flor_frame_slot(frame, (PyObject *)self);
    if (slot != NULL) {
        end(self);
        *slot = Py_NewRef(self->inner);
        Py_DECREF(self);
    }
}

PyObject *
flor_loop_next(PyObject *op)
{
    LoopIter *self = (LoopIter *)op;
    if (self->site->kind == FLOR_WHILE) {
        return PyTuple_New(0); /* the artificial `for` round a `while` lets its only pass begin */
    }
    if (self->loud && report_boundary(self) < 0) {
        return NULL;
    }
    PyObject *inner = self->inner;
    if (inner == NULL || self->life == FLOR_PENDING) {
        return NULL;
    }
    /* Looked up every time: an object may change its class while it is iterated. */
    PyObject *item = Py_TYPE(inner)->tp_iternext(inner);
    if (item != NULL) {
        self->n++;
        if (self->quiet && self->site->mode == FLOR_RAW && self->life == FLOR_LIVE) {
            let_go(self);
        }
        return item;
    }
    exhausted(self);
    return NULL;
}

PyObject *
flor_loop_tick(PyObject *op)
{
    LoopIter *self = (LoopIter *)op;
    if (self->loud && report_boundary(self) < 0) {
        return NULL;
    }
    self->n++;
    Py_RETURN_NONE;
}

PyObject *
flor_loop_exit(PyObject *op)
{
    LoopIter *self = (LoopIter *)op;
    if (self->loud && report_boundary(self) < 0) {
        return NULL;
    }
    end_and_report(self, self->site->state->exhausted);
    Py_RETURN_NONE;
}

/* The running loop of a site in the frame that asks, borrowed; NULL when it is not reported. */
static LoopIter *
loop_of(Site *site)
{
    FlorFrame *frame = flor_top_frame(flor_thread());
    FlorLink *head = &site->state->loops;
    for (FlorLink *each = head->previous; each != head; each = each->previous) {
        LoopIter *loop = flor_of_link(each);
        if (loop->site == site && loop->frame == frame) {
            return loop;
        }
    }
    return NULL;
}

static PyObject *
signal_to_loop(PyObject *op, unaryfunc sign)
{
    PyObject *loop = (PyObject *)loop_of((Site *)op);
    if (loop == NULL) {
        Py_RETURN_NONE;
    }
    Py_INCREF(loop);
    PyObject *result = sign(loop);
    Py_DECREF(loop);
    return result;
}

PyObject *
flor_site_tick(PyObject *op)
{
    return signal_to_loop(op, flor_loop_tick);
}

PyObject *
flor_site_exit(PyObject *op)
{
    return signal_to_loop(op, flor_loop_exit);
}

int
flor_loop_traverse(PyObject *op, visitproc visit, void *arg)
{
    LoopIter *self = (LoopIter *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->site);
    Py_VISIT(self->inner);
    Py_VISIT(self->tag);
    Py_VISIT(self->rows);
    return 0;
}

/* The site stays: what is left of the object's life still counts there. */
int
flor_loop_clear(PyObject *op)
{
    Py_CLEAR(((LoopIter *)op)->inner);
    Py_CLEAR(((LoopIter *)op)->tag);
    Py_CLEAR(((LoopIter *)op)->rows);
    return 0;
}

/* For loops in cyclic garbage: they end while their tag is still there. */
void
flor_loop_finalize(PyObject *op)
{
    LoopIter *self = (LoopIter *)op;
    end_and_report(self, how_it_is_left(self->site->state));
}

void
flor_loop_dealloc(PyObject *op)
{
    LoopIter *self = (LoopIter *)op;
    FlorState *state = self->site->state;
    if (self->life == FLOR_LIVE) {
        Py_SET_REFCNT(op, 1);
        flor_loop_finalize(op);
        Py_SET_REFCNT(op, Py_REFCNT(op) - 1);
        if (Py_REFCNT(op) > 0) {
            return; /* the handler keeps it; it is ENDED now */
        }
    }
    PyTypeObject *type = Py_TYPE(op);
    Site *site = self->site;
    PyObject *inner = self->inner, *tag = self->tag, *rows = (PyObject *)self->rows;
    PyObject_GC_UnTrack(op);
    if (state->spares < (int)Py_ARRAY_LENGTH(state->spare) && !PyObject_GC_IsFinalized(op)) {
        state->spare[state->spares++] = self;
    }
    else {
        PyObject_GC_Del(op);
    }
    Py_XDECREF(inner);
    Py_XDECREF(tag);
    Py_XDECREF(rows);
    Py_DECREF(site); /* last: it keeps the type and with it `state` */
    Py_DECREF(type);
}

void
flor_loops_free_spares(FlorState *state)
{
    while (state->spares > 0) {
        PyObject_GC_Del(state->spare[--state->spares]);
    }
}
