/* The leaf that is a tensor's storage: one for all tensors that show parts of it. */
#include "tensors.h"

#include "hash.h"

/* Note how far a leaf is shown by what has been met; 0, or -1 with an exception. */
static int
note_end(const FlorReader *self, PyObject *walk, PyObject *number, FlorTensor *found, int is_new)
{
    PyObject *shown = PyObject_GetAttr(walk, self->shown), *end = NULL;
    int status = shown == NULL || !PyDict_Check(shown) ? -1 : 0;
    if (status == 0 && (is_new || PyDict_GET_SIZE(shown) > 0)) {
        PyObject *before = is_new ? NULL : PyDict_GetItemWithError(shown, number);
        Py_ssize_t known = before == NULL ? -1 : PyLong_AsSsize_t(before);
        if (is_new || (before != NULL && known < found->end)) {
            end = PyLong_FromSsize_t(found->end);
            status = end == NULL ? -1 : PyDict_SetItem(shown, number, end);
        }
    }
    if (status < 0 && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_TypeError, "what a walk has been shown is a dict");
    }
    Py_XDECREF(shown);
    Py_XDECREF(end);
    return PyErr_Occurred() ? -1 : status;
}

static PyObject *
make_leaf(const FlorReader *self, FlorTensor *found)
{
    PyObject *span
        = flor_span_new(self->span_type, found->storage, found->start, found->size);
    PyObject *view = span == NULL ? NULL : PyMemoryView_FromObject(span);
    Py_XDECREF(span);
    return view;
}

/* Add a leaf under a key, or without one if that is NULL; its number, or NULL. */
static PyObject *
add_leaf(const FlorReader *self, PyObject *walk, PyObject *keys, PyObject *key, FlorTensor *found)
{
    PyObject *leaves = PyObject_GetAttr(walk, self->leaves), *number = NULL;
    PyObject *leaf = leaves == NULL ? NULL : make_leaf(self, found);
    if (leaf != NULL && PyList_Check(leaves)) {
        number = PyLong_FromSsize_t(PyList_GET_SIZE(leaves));
        if (number != NULL
            && ((key != NULL && PyDict_SetItem(keys, key, number) < 0)
                || PyList_Append(leaves, leaf) < 0
                || (found->partial && note_end(self, walk, number, found, 1) < 0))) {
            Py_CLEAR(number);
        }
    }
    else if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_TypeError, "the leaves of a walk are a list");
    }
    Py_XDECREF(leaves);
    Py_XDECREF(leaf);
    return number;
}

PyObject *
flor_tensor_leaf(const FlorReader *self, PyObject *walk, FlorTensor *found)
{
    if (found->size == 0) {
        return add_leaf(self, walk, NULL, NULL, found);
    }
    PyObject *keys = PyObject_GetAttr(walk, self->leaf_keys), *number = NULL;
    PyObject *start = keys == NULL ? NULL : PyLong_FromVoidPtr(found->start);
    PyObject *size = start == NULL ? NULL : PyLong_FromSsize_t(found->size);
    PyObject *key = size == NULL ? NULL : PyTuple_Pack(2, start, size);
    if (key != NULL) {
        number = Py_XNewRef(PyDict_GetItemWithError(keys, key));
        if (number == NULL && !PyErr_Occurred()) {
            number = add_leaf(self, walk, keys, key, found);
        }
        else if (number != NULL && note_end(self, walk, number, found, 0) < 0) {
            Py_CLEAR(number);
        }
    }
    Py_XDECREF(keys);
    Py_XDECREF(start);
    Py_XDECREF(size);
    Py_XDECREF(key);
    return number;
}
