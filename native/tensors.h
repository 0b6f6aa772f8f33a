/* TensorReader, which makes the nodes of tensors. */
#ifndef FLOR_TENSORS_H
#define FLOR_TENSORS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "dlpack.h"
#include "nodes.h"

enum { FLOR_DIMS = 6, FLOR_REMEMBERED = 64 };

/* All that a payload says, as far as it has few dimensions: models repeat their shapes. */
typedef struct {
    int64_t shape[FLOR_DIMS], strides[FLOR_DIMS];
    int64_t offset;
    int32_t ndim;
    FlorDLType dtype;
    int32_t wants_grad, unused;
} FlorForm;

typedef struct {
    FlorForm form;
    PyObject *payload;
} FlorPayload;

/* What the codec hands over: torch's slots of attributes, its methods, and values. */
enum {
    GRAD, REQUIRES_GRAD, IS_LEAF, DTYPE, LAYOUT, IS_CPU, SHAPE, TENSOR_NBYTES,
    IS_NEG, IS_CONJ, STORAGE_OFFSET, STORAGE, NBYTES, DATA_PTR, STRIDE,
    NODE, TYPES, DTYPES, STRIDED, FALLBACK, PARTS,
    FIRST_METHOD = IS_NEG, FIRST_VALUE = NODE
};

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyTypeObject *span_type;
    const FlorDLExchange *exchange; /* or NULL */
    PyObject *parts[PARTS];
    PyObject *tensor, *detached, *cpu, *grad_names; /* constants of nodes */
    PyObject *leaf_keys, *leaves, *ref, *shown, *type_name; /* names of attributes */
    FlorNodes nodes;
    FlorPayload remembered[FLOR_REMEMBERED];
} FlorReader;

/* What one call has found out; the references are owned. */
typedef struct {
    PyObject *payload;
    PyObject *storage;
    void *start;
    Py_ssize_t size, end; /* of the storage; how far the tensor reaches */
    int is_leaf, partial; /* partial: it does not show all of the storage */
} FlorTensor;

/* 1; 0 when the tensor is not of the usual kind; -1 with an exception.  `found` begins empty and
   may hold something in each case. */
int flor_read_tensor(FlorReader *self, PyObject *obj, FlorTensor *found);
/* The value of a slot. */
PyObject *flor_tensor_slot(const FlorReader *self, int part, PyObject *obj);

/* The number of the leaf that is the tensor's storage, or NULL with an exception. */
PyObject *flor_tensor_leaf(const FlorReader *self, PyObject *walk, FlorTensor *found);

/* Add `TensorReader`; 0, or -1 with an exception set. */
int flor_add_tensors(PyObject *module);

#endif
