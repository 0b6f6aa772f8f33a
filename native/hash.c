/* digest() and digest_many(): XXH3-128 of whatever exports a buffer. */
#include "hash.h"

#include "xxh3.h"

/* Below this many bytes, letting another thread run costs more than it gives. */
#define RELEASE_FROM 100000

static PyObject *digest_of(PyObject *exporter)
{
    Py_buffer view;
    unsigned char out[FLOR_DIGEST_SIZE];

    if (PyObject_GetBuffer(exporter, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (view.len < RELEASE_FROM) {
        flor_xxh3_128(view.buf, (size_t)view.len, out);
    }
    else {
        Py_BEGIN_ALLOW_THREADS
        flor_xxh3_128(view.buf, (size_t)view.len, out);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&view);
    return PyBytes_FromStringAndSize((const char *)out, sizeof out);
}

static PyObject *digest(PyObject *Py_UNUSED(module), PyObject *buffer)
{
    return digest_of(buffer);
}

static PyObject *digest_many(PyObject *Py_UNUSED(module), PyObject *buffers)
{
    /* A tuple of our own: exporters run code, and other threads run, while we are at it. */
    PyObject *all = PySequence_Tuple(buffers);
    if (all == NULL) {
        return NULL;
    }
    PyObject *digests = PyList_New(0);
    for (Py_ssize_t i = 0; digests != NULL && i < PyTuple_GET_SIZE(all); i++) {
        PyObject *one = digest_of(PyTuple_GET_ITEM(all, i));
        if (one == NULL || PyList_Append(digests, one) < 0) {
            Py_CLEAR(digests);
        }
        Py_XDECREF(one);
    }
    Py_DECREF(all);
    return digests;
}

PyDoc_STRVAR(digest_doc,
    "digest($module, buffer, /)\n--\n\n"
    "Return the 16 bytes of the XXH3-128 hash (seed 0) of a C-contiguous buffer.\n\n"
    "Raises TypeError for what is no buffer, and the exporter's own BufferError or ValueError for\n"
    "a buffer that is not C-contiguous.");

PyDoc_STRVAR(digest_many_doc,
    "digest_many($module, buffers, /)\n--\n\n"
    "Return the digest of each buffer, in order; raises what `digest` raises.");

static PyMethodDef methods[] = {
    {"digest", digest, METH_O, digest_doc},
    {"digest_many", digest_many, METH_O, digest_many_doc},
    {NULL, NULL, 0, NULL},
};

int flor_add_hash(PyObject *module)
{
    return PyModule_AddFunctions(module, methods);
}
