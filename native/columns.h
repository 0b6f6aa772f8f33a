/* Columns of values that a loop's variables had at the ends of consecutive iterations. */
#ifndef FLOR_COLUMNS_H
#define FLOR_COLUMNS_H

#include "frames.h"

/* A handler that lets rows pile up is called at every boundary from so many on. */
enum { FLOR_MOST_ROWS = 4096 };

/* What a cell holds; a set of these says what a column holds. */
enum { ABSENT = 0, REAL = 1, WHOLE = 2, TRUTH = 4, OTHER = 8 };

typedef union {
    double real;
    long long whole; /* also a truth value, or the position among `others` */
} Cell;

typedef struct {
    PyObject *name;      /* borrowed from `names` */
    Py_ssize_t index;    /* among the fast locals of `code`, or -1 */
    PyTypeObject *never; /* a type of which no value is a scalar, or NULL */
    PyObject *others;    /* a list, or NULL */
    unsigned char *kinds;
    Cell *cells;
    int seen;
} FlorColumn;

typedef struct {
    PyObject_HEAD
    PyObject *names, *read;
    PyCodeObject *code; /* that the columns' indices are of; NULL before the first row */
    FlorColumn *columns;
    Py_ssize_t count, room;
    long long first, until;
    double deadline;
} Columns;

static inline Py_ssize_t
flor_width(const Columns *self)
{
    return PyTuple_GET_SIZE(self->names);
}

extern PyType_Spec flor_columns_spec;

/* Add the row of `iteration`, which has just ended in `frame`; 1 when the handler is to be called,
   which sees whether the row was added, 0 when not, -1 with an exception of the reader's. */
int flor_columns_boundary(Columns *self, FlorFrame *frame, long long iteration);

/* 0, or -1 with an exception; the row is then not added. */
int flor_columns_add(Columns *self, FlorFrame *frame, long long iteration);

#endif
