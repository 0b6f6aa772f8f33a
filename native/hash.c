/* digest() and digest_many(): XXH3-128 of whatever exports a buffer. */
#include "hash.h"

#include "loops.h"

#include <string.h>

static PyObject *digest(PyObject *Py_UNUSED(module), PyObject *exporter)
{
    Py_buffer view;
    unsigned char out[FLOR_DIGEST_SIZE];

    if (PyObject_GetBuffer(exporter, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (view.len < FLOR_RELEASE_FROM) {
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

int flor_gather_room(FlorGathered *all, Py_ssize_t count)
{
    size_t room = count > 0 ? (size_t)count : 1;
    *all = (FlorGathered){.count = count};
    all->views = PyMem_New(Py_buffer, room);
    all->bytes = PyMem_New(FlorBytes, room);
    all->digests = PyMem_Calloc(room, FLOR_DIGEST_SIZE);
    if (all->views == NULL || all->bytes == NULL || all->digests == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

int flor_gather(FlorGathered *all, PyObject *exporters, PyTypeObject *span_type)
{
    for (Py_ssize_t i = 0; i < all->count; i++) {
        PyObject *exporter = PyTuple_GET_ITEM(exporters, i);
        if (Py_IS_TYPE(exporter, span_type)) {
            FlorSpan *span = (FlorSpan *)exporter;
            all->bytes[i] = (FlorBytes){span->data, (size_t)span->length};
        }
        else {
            Py_buffer *view = &all->views[all->held];
            if (PyObject_GetBuffer(exporter, view, PyBUF_SIMPLE) < 0) {
                return -1;
            }
            all->held++;
            all->bytes[i] = (FlorBytes){view->buf, (size_t)view->len};
        }
        all->total += all->bytes[i].length;
    }
    return 0;
}

/* An exporter may run code when it gets its buffer back; an exception that is set stays set. */
void flor_gather_end(FlorGathered *all)
{
    for (Py_ssize_t i = 0; i < all->held; i++) {
        PyBuffer_Release(&all->views[i]);
    }
    PyMem_Free(all->views);
    PyMem_Free(all->bytes);
    all->views = NULL;
    all->bytes = NULL;
}

PyObject *flor_digest_list(const FlorGathered *all)
{
    PyObject *digests = PyList_New(all->count);
    for (Py_ssize_t i = 0; digests != NULL && i < all->count; i++) {
        PyObject *one = PyBytes_FromStringAndSize((char *)all->digests[i], FLOR_DIGEST_SIZE);
        if (one == NULL) {
            Py_CLEAR(digests);
            break;
        }
        PyList_SET_ITEM(digests, i, one);
    }
    return digests;
}

static PyObject *digest_many(PyObject *module, PyObject *buffers)
{
    FlorGathered all;
    PyObject *digests = NULL;
    /* A tuple of our own: exporters run code, and other threads run, while we are at it. */
    PyObject *exporters = PySequence_Tuple(buffers);
    if (exporters == NULL) {
        return NULL;
    }
    int gathered = flor_gather_room(&all, PyTuple_GET_SIZE(exporters)) == 0
        && flor_gather(&all, exporters, flor_state(module)->span_type) == 0;
    if (gathered && all.total < FLOR_RELEASE_FROM) {
        flor_xxh3_128_many(all.bytes, (size_t)all.count, all.digests);
    }
    else if (gathered) {
        Py_BEGIN_ALLOW_THREADS
        flor_xxh3_128_many(all.bytes, (size_t)all.count, all.digests);
        Py_END_ALLOW_THREADS
    }
    flor_gather_end(&all);
    if (gathered) {
        digests = flor_digest_list(&all);
    }
    PyMem_Free(all.digests);
    Py_DECREF(exporters);
    return digests;
}

PyDoc_STRVAR(digest_doc,
    "digest($module, buffer, /)\n--\n\n"
    "Return the 16 bytes of the XXH3-128 hash (seed 0) of a C-contiguous buffer.\n\n"
    "Raises TypeError for what is no buffer, and the exporter's own BufferError or ValueError for\n"
    "a buffer that is not C-contiguous.");

PyDoc_STRVAR(digest_many_doc,
    "digest_many($module, buffers, /)\n--\n\n"
    "Return the digest of each buffer, in order; raises what `digest` raises.\n\n"
    "All buffers are taken before the first is read, and given back after the last.");

static PyMethodDef methods[] = {
    {"digest", digest, METH_O, digest_doc},
    {"digest_many", digest_many, METH_O, digest_many_doc},
    {NULL, NULL, 0, NULL},
};

int flor_add_hash(PyObject *module)
{
    FlorState *state = flor_state(module);
    state->span_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &flor_span_spec, NULL);
    if (state->span_type == NULL || PyModule_AddType(module, state->span_type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, methods) < 0 ? -1 : flor_add_stage(module);
}
