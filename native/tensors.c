/* What a node says about a tensor of torch, and the memory of its storage.

   Everything is read through torch's own slots, found once by the codec: the exchange interface of
   DLPack where torch has it, else its Python methods.  What is unusual (sparse, conjugated, on a
   device, a stand-in of a compiler, ...) is not read here. */
#include "tensors.h"

#include <string.h>

PyObject *
flor_tensor_slot(const FlorReader *self, int part, PyObject *obj)
{
    PyGetSetDef *slot = ((PyGetSetDescrObject *)self->parts[part])->d_getset;
    return slot->get(obj, slot->closure);
}

/* Call a method that takes nothing, as the slots are read: without asking for the type again. */
static PyObject *
call(const FlorReader *self, int part, PyObject *obj)
{
    return ((PyMethodDescrObject *)self->parts[part])->d_method->ml_meth(obj, NULL);
}

/* 1 or 0 for True or False, which is let go; -1 with an exception. */
static int
truth(PyObject *value)
{
    int found = value == NULL ? -1 : value == Py_True ? 1 : PyObject_IsTrue(value);
    Py_XDECREF(value);
    return found;
}

static int64_t
whole(PyObject *value)
{
    int64_t found = value == NULL ? -1 : PyLong_AsLongLong(value);
    Py_XDECREF(value);
    return found;
}

/* The name that torch has for the type of the elements, or NULL for a rare one. */
static const char *
dtype_name(FlorDLType type)
{
    static const char *const names[7][5] = {
        /*   8 bits   16          32         64          128 */
        {"int8", "int16", "int32", "int64", NULL},
        {"uint8", "uint16", "uint32", "uint64", NULL},
        {NULL, "float16", "float32", "float64", NULL},
        {NULL, NULL, NULL, NULL, NULL},
        {NULL, "bfloat16", NULL, NULL, NULL},
        {NULL, NULL, "complex32", "complex64", "complex128"},
        {"bool", NULL, NULL, NULL, NULL},
    };
    int width = type.bits == 8 ? 0 : type.bits == 16 ? 1 : type.bits == 32 ? 2
        : type.bits == 64 ? 3 : type.bits == 128 ? 4 : -1;
    return type.code < 7 && width >= 0 && type.lanes == 1 ? names[type.code][width] : NULL;
}

static PyObject *
numbers(const int64_t *values, int32_t count)
{
    PyObject *tuple = PyTuple_New(count);
    for (int32_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *number = PyLong_FromLongLong(values[i]);
        if (number == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, i, number);
    }
    return tuple;
}

/* (dtype, shape, stride, offset, whether it wants a gradient, "cpu"); takes the two tuples. */
static PyObject *
make_payload(
    const FlorReader *self, PyObject *dtype, PyObject *shape, PyObject *stride, int64_t offset,
    int wants_grad)
{
    PyObject *number = stride == NULL ? NULL : PyLong_FromLongLong(offset), *payload = NULL;
    if (number != NULL) {
        PyObject *wanted = wants_grad ? Py_True : Py_False;
        payload = PyTuple_Pack(6, dtype, shape, stride, number, wanted, self->cpu);
    }
    Py_XDECREF(shape);
    Py_XDECREF(stride);
    Py_XDECREF(number);
    return payload;
}

static PyObject *
payload_of_form(FlorReader *self, const FlorDLTensor *seen, int64_t offset, int wants_grad)
{
    PyObject *dtype = PyUnicode_InternFromString(dtype_name(seen->dtype));
    PyObject *shape = dtype == NULL ? NULL : numbers(seen->shape, seen->ndim);
    PyObject *stride = shape == NULL ? NULL : numbers(seen->strides, seen->ndim);
    PyObject *payload = make_payload(self, dtype, shape, stride, offset, wants_grad);
    Py_XDECREF(dtype);
    return payload;
}

static uint64_t
form_hash(const FlorForm *form)
{
    uint64_t h = (uint64_t)form->offset ^ (uint64_t)form->wants_grad << 7 ^ form->dtype.code
        ^ (uint64_t)form->dtype.bits << 3;
    for (int i = 0; i < form->ndim; i++) {
        h = (h ^ (uint64_t)form->shape[i]) * UINT64_C(0x9E3779B185EBCA87);
        h = (h ^ (uint64_t)form->strides[i]) * UINT64_C(0xC2B2AE3D27D4EB4F);
    }
    return h >> 58;
}

/* A payload like an earlier one is that one. */
static PyObject *
known_payload(FlorReader *self, const FlorDLTensor *seen, int64_t offset, int wants_grad)
{
    if (seen->ndim > FLOR_DIMS) {
        return payload_of_form(self, seen, offset, wants_grad);
    }
    FlorForm form = {.offset = offset, .ndim = seen->ndim, .dtype = seen->dtype};
    form.wants_grad = wants_grad;
    if (seen->ndim > 0) { /* else there may be nothing to copy from */
        memcpy(form.shape, seen->shape, sizeof(int64_t) * (size_t)seen->ndim);
        memcpy(form.strides, seen->strides, sizeof(int64_t) * (size_t)seen->ndim);
    }
    FlorPayload *place = &self->remembered[form_hash(&form) % FLOR_REMEMBERED];
    if (place->payload == NULL || memcmp(&place->form, &form, sizeof form) != 0) {
        PyObject *payload = payload_of_form(self, seen, offset, wants_grad);
        if (payload == NULL) {
            return NULL;
        }
        Py_XSETREF(place->payload, payload);
        place->form = form;
    }
    return Py_NewRef(place->payload);
}

/* The storage, where it begins and its size; 0, or -1 with an exception. */
static int
find_storage(const FlorReader *self, PyObject *obj, FlorTensor *found)
{
    found->storage = call(self, STORAGE, obj);
    if (found->storage == NULL) {
        return -1;
    }
    found->size = (Py_ssize_t)whole(call(self, NBYTES, found->storage));
    PyObject *start = found->size < 0 ? NULL : call(self, DATA_PTR, found->storage);
    found->start = start == NULL ? NULL : PyLong_AsVoidPtr(start);
    Py_XDECREF(start);
    return found->start == NULL && (start == NULL || PyErr_Occurred()) ? -1 : 0;
}

/* Whether the elements stand for others than the memory holds: conjugated, or negated. */
static int
is_lazy(const FlorReader *self, PyObject *obj)
{
    int negated = truth(call(self, IS_NEG, obj));
    return negated != 0 ? negated : truth(call(self, IS_CONJ, obj));
}

/* Whether a gradient is wanted, and whether the tensor is a leaf of autograd. */
static int
find_autograd(const FlorReader *self, PyObject *obj, FlorTensor *found)
{
    int wants = truth(flor_tensor_slot(self, REQUIRES_GRAD, obj));
    /* What wants none has no history, by torch's convention. */
    found->is_leaf = wants == 1 ? truth(flor_tensor_slot(self, IS_LEAF, obj)) : wants == 0 ? 1 : -1;
    return found->is_leaf < 0 ? -1 : wants && found->is_leaf;
}

/* How far into its storage the tensor reaches, and whether it shows all of it. */
static void
find_end(
    FlorTensor *found, const int64_t *shape, const int64_t *strides, Py_ssize_t ndim,
    int64_t offset, int64_t width)
{
    int64_t count = 1, last = offset;
    for (Py_ssize_t i = 0; i < ndim; i++) {
        count *= shape[i];
        last += (shape[i] - 1) * strides[i];
    }
    found->end = count == 0 ? 0 : (Py_ssize_t)((last + 1) * width);
    found->partial = count * width < found->size;
}

/* Where in its storage the tensor begins, in elements; -1 with an exception. */
static int64_t
find_offset(const FlorReader *self, PyObject *obj, const FlorDLTensor *seen, FlorTensor *found)
{
    int64_t bytes = (char *)seen->data - (char *)found->start;
    if (seen->data == NULL || bytes < 0 || bytes > found->size) {
        return whole(call(self, STORAGE_OFFSET, obj)); /* of no elements: points to nothing */
    }
    return bytes / (seen->dtype.bits / 8);
}

/* By DLPack: 1, 0 when the tensor is not of the usual kind, -1 with an exception. */
static int
read_exchanged(FlorReader *self, PyObject *obj, FlorTensor *found)
{
    FlorDLTensor seen;
    if (self->exchange->tensor_from(obj, &seen) < 0) {
        return -1;
    }
    if (seen.device_type != FLOR_DL_CPU || dtype_name(seen.dtype) == NULL || seen.ndim < 0
        || seen.byte_offset != 0) {
        return 0;
    }
    int lazy = seen.dtype.code == 5 ? is_lazy(self, obj) : truth(call(self, IS_NEG, obj));
    int wants = lazy != 0 ? -1 : find_autograd(self, obj, found);
    if (wants < 0 || find_storage(self, obj, found) < 0) {
        return lazy > 0 ? 0 : -1;
    }
    int64_t offset = find_offset(self, obj, &seen, found);
    if (offset < 0) {
        return -1;
    }
    find_end(found, seen.shape, seen.strides, seen.ndim, offset, seen.dtype.bits / 8);
    found->payload = known_payload(self, &seen, offset, wants);
    return found->payload == NULL ? -1 : 1;
}

static PyObject *
plain_tuple(PyObject *sequence)
{
    PyObject *tuple = NULL;
    if (sequence != NULL) {
        tuple = PyTuple_CheckExact(sequence) ? Py_NewRef(sequence)
            : PyTuple_Check(sequence) ? PyTuple_GetSlice(sequence, 0, PyTuple_GET_SIZE(sequence))
            : PySequence_Tuple(sequence);
        Py_DECREF(sequence);
    }
    return tuple;
}

/* Whether the tensor is dense, in the memory of this machine, and of a known type. */
static int
is_usual(const FlorReader *self, PyObject *obj, PyObject **dtype)
{
    PyObject *layout = flor_tensor_slot(self, LAYOUT, obj);
    PyObject *type = layout == NULL ? NULL : flor_tensor_slot(self, DTYPE, obj);
    *dtype = type == NULL ? NULL : PyDict_GetItemWithError(self->parts[DTYPES], type);
    int usual = layout == self->parts[STRIDED] && *dtype != NULL;
    Py_XDECREF(layout);
    Py_XDECREF(type);
    if (!usual) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return truth(flor_tensor_slot(self, IS_CPU, obj));
}

enum { MOST_DIMS = 64 };

/* The numbers of a tuple; 0, or -1 with an exception. */
static int
as_numbers(PyObject *tuple, int64_t numbers[MOST_DIMS])
{
    if (PyTuple_GET_SIZE(tuple) > MOST_DIMS) {
        PyErr_SetString(PyExc_ValueError, "a tensor has no more than 64 dimensions");
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        numbers[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(tuple, i));
        if (numbers[i] == -1 && PyErr_Occurred()) {
            return -1;
        }
    }
    return 0;
}

/* The same as `find_end`, of tuples; 0, or -1 with an exception. */
static int
find_called_end(
    const FlorReader *self, PyObject *obj, PyObject *shape, PyObject *stride, int64_t offset,
    FlorTensor *found)
{
    int64_t sizes[MOST_DIMS], strides[MOST_DIMS], count = 1;
    int64_t bytes = whole(flor_tensor_slot(self, TENSOR_NBYTES, obj));
    if (bytes < 0 || as_numbers(shape, sizes) < 0 || as_numbers(stride, strides) < 0) {
        return -1;
    }
    Py_ssize_t ndim = PyTuple_GET_SIZE(shape);
    for (Py_ssize_t i = 0; i < ndim; i++) {
        count *= sizes[i];
    }
    find_end(found, sizes, strides, ndim, offset, count > 0 ? bytes / count : 1);
    return 0;
}

/* By Python's methods: the same answers. */
static int
read_called(const FlorReader *self, PyObject *obj, FlorTensor *found)
{
    PyObject *dtype;
    int usual = is_usual(self, obj, &dtype);
    int lazy = usual == 1 ? is_lazy(self, obj) : 0;
    if (usual <= 0 || lazy != 0) {
        return usual < 0 || lazy < 0 ? -1 : 0;
    }
    int wants = find_autograd(self, obj, found);
    if (wants < 0 || find_storage(self, obj, found) < 0) {
        return -1;
    }
    int64_t offset = whole(call(self, STORAGE_OFFSET, obj));
    if (offset < 0) {
        return -1;
    }
    PyObject *shape = plain_tuple(flor_tensor_slot(self, SHAPE, obj));
    PyObject *stride = shape == NULL ? NULL
        : plain_tuple(PyObject_CallOneArg(self->parts[STRIDE], obj));
    if (stride != NULL && find_called_end(self, obj, shape, stride, offset, found) < 0) {
        Py_CLEAR(stride);
    }
    found->payload = make_payload(self, dtype, shape, stride, offset, wants);
    return found->payload == NULL ? -1 : 1;
}

int
flor_read_tensor(FlorReader *self, PyObject *obj, FlorTensor *found)
{
    return self->exchange != NULL ? read_exchanged(self, obj, found)
                                  : read_called(self, obj, found);
}
