/* stage(): hash buffers and copy them, each byte read once; and memory to copy to. */
#include "hash.h"

#include "loops.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

/* Where each buffer is copied to; NULL: nowhere. Views of the first `held` are to be given back. */
typedef struct {
    Py_ssize_t held;
    Py_buffer *views;
    void **to;
} Targets;

/* The size of a page of any processor, or a divisor of it. */
#define PAGE 4096

static int take_targets(Targets *all, PyObject *targets, const FlorGathered *sources)
{
    for (Py_ssize_t i = 0; i < sources->count; i++) {
        PyObject *target = PyTuple_GET_ITEM(targets, i);
        if (target == Py_None) {
            continue;
        }
        Py_buffer *view = &all->views[all->held];
        if (PyObject_GetBuffer(target, view, PyBUF_WRITABLE) < 0) {
            return -1;
        }
        all->held++;
        if ((size_t)view->len != sources->bytes[i].length) {
            PyErr_Format(PyExc_ValueError, "%zu bytes are to be copied to %zd",
                         sources->bytes[i].length, view->len);
            return -1;
        }
        all->to[i] = view->buf;
    }
    return 0;
}

static void hash_and_copy(const FlorGathered *sources, const Targets *targets)
{
    int past = sources->total >= FLOR_PAST_CACHES;
    for (Py_ssize_t i = 0; i < sources->count;) {
        Py_ssize_t end = i;
        while (end < sources->count && targets->to[end] == NULL) {
            end++;
        }
        flor_xxh3_128_many(sources->bytes + i, (size_t)(end - i), sources->digests + i);
        for (i = end; i < sources->count && targets->to[i] != NULL; i++) {
            const FlorBytes *bytes = &sources->bytes[i];
            flor_xxh3_128_copy(
                bytes->data, bytes->length, targets->to[i], past, sources->digests[i]);
        }
    }
    flor_copies_end();
}

static PyObject *stage_all(PyObject *exporters, PyObject *into, PyTypeObject *span_type)
{
    FlorGathered all;
    Py_ssize_t count = PyTuple_GET_SIZE(exporters);
    size_t room = count > 0 ? (size_t)count : 1;
    Targets targets = {0, PyMem_New(Py_buffer, room), PyMem_Calloc(room, sizeof(void *))};
    PyObject *digests = NULL;
    int ready = flor_gather_room(&all, count);
    if (targets.views == NULL || targets.to == NULL) {
        PyErr_NoMemory();
        ready = -1;
    }
    if (ready == 0 && flor_gather(&all, exporters, span_type) == 0
        && take_targets(&targets, into, &all) == 0) {
        if (all.total < FLOR_RELEASE_FROM) {
            hash_and_copy(&all, &targets);
        }
        else {
            Py_BEGIN_ALLOW_THREADS
            hash_and_copy(&all, &targets);
            Py_END_ALLOW_THREADS
        }
        digests = flor_digest_list(&all);
    }
    for (Py_ssize_t i = 0; i < targets.held; i++) {
        PyBuffer_Release(&targets.views[i]);
    }
    flor_gather_end(&all);
    PyMem_Free(all.digests);
    PyMem_Free(targets.views);
    PyMem_Free(targets.to);
    return digests;
}

static PyObject *stage(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "stage() takes 2 arguments (%zd given)", count);
        return NULL;
    }
    /* Tuples of our own: exporters run code, and other threads run, while we are at it. */
    PyObject *sources = PySequence_Tuple(arguments[0]);
    PyObject *targets = sources == NULL ? NULL : PySequence_Tuple(arguments[1]);
    PyObject *digests = NULL;
    if (targets != NULL && PyTuple_GET_SIZE(sources) != PyTuple_GET_SIZE(targets)) {
        PyErr_Format(PyExc_ValueError, "there are %zd buffers and %zd targets",
                     PyTuple_GET_SIZE(sources), PyTuple_GET_SIZE(targets));
    }
    else if (targets != NULL) {
        digests = stage_all(sources, targets, flor_state(module)->span_type);
    }
    Py_XDECREF(sources);
    Py_XDECREF(targets);
    return digests;
}

static PyObject *addresses(PyObject *module, PyObject *buffers)
{
    FlorGathered all;
    PyObject *found = NULL;
    PyObject *exporters = PySequence_Tuple(buffers);
    if (exporters == NULL) {
        return NULL;
    }
    if (flor_gather_room(&all, PyTuple_GET_SIZE(exporters)) == 0
        && flor_gather(&all, exporters, flor_state(module)->span_type) == 0) {
        found = PyList_New(all.count);
        for (Py_ssize_t i = 0; found != NULL && i < all.count; i++) {
            PyObject *address = PyLong_FromVoidPtr((void *)all.bytes[i].data);
            if (address == NULL) {
                Py_CLEAR(found);
                break;
            }
            PyList_SET_ITEM(found, i, address);
        }
    }
    flor_gather_end(&all);
    PyMem_Free(all.digests);
    Py_DECREF(exporters);
    return found;
}

/* Have memory behind every page, without changing what is in it, and while others may write. */
static void fault_in(unsigned char *at, size_t length)
{
#if defined(__linux__)
#if !defined(MADV_POPULATE_WRITE)
#define MADV_POPULATE_WRITE 23
#endif
    size_t begin = ((size_t)at + PAGE - 1) & ~(size_t)(PAGE - 1), end = (size_t)at + length;
    if (begin < end && madvise((void *)begin, end - begin, MADV_POPULATE_WRITE) == 0) {
        return;
    }
#endif
    for (size_t done = 0; done < length; done += PAGE) {
        unsigned char seen = __atomic_load_n(at + done, __ATOMIC_RELAXED);
        /* Writes what is there or, if that has changed by now, nothing. */
        __atomic_compare_exchange_n(
            at + done, &seen, seen, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
}

/* Give the memory of whole pages back to the system; they are zero from now on. */
static void discard_pages(unsigned char *at, size_t length)
{
#if defined(__linux__)
    (void)madvise(at, length, MADV_DONTNEED);
#else
    (void)at;
    (void)length;
#endif
}

static PyObject *without_lock(PyObject *buffer, void (*act)(unsigned char *, size_t))
{
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    act(view.buf, (size_t)view.len);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static PyObject *populate(PyObject *Py_UNUSED(module), PyObject *buffer)
{
    return without_lock(buffer, fault_in);
}

static PyObject *discard(PyObject *Py_UNUSED(module), PyObject *buffer)
{
    return without_lock(buffer, discard_pages);
}

PyDoc_STRVAR(stage_doc,
    "stage($module, sources, targets, /)\n--\n\n"
    "Copy each source to its target, unless that is None; return the digests, in order.\n\n"
    "The digest is that of the copy, also while somebody writes to the source. A target has the\n"
    "length of its source and shares no byte with any; raises ValueError for another length, and\n"
    "what `digest` raises.");

PyDoc_STRVAR(addresses_doc,
    "addresses($module, buffers, /)\n--\n\n"
    "Return where in memory each buffer begins; raises what `digest` raises.");

PyDoc_STRVAR(populate_doc,
    "populate($module, buffer, /)\n--\n\n"
    "Have memory behind every page of a buffer, whose contents stay what they are.");

PyDoc_STRVAR(discard_doc,
    "discard($module, buffer, /)\n--\n\n"
    "Give the memory behind whole pages of an anonymous mapping back; they may be zero then.");

static PyMethodDef methods[] = {
    {"stage", (PyCFunction)(void (*)(void))stage, METH_FASTCALL, stage_doc},
    {"addresses", addresses, METH_O, addresses_doc},
    {"populate", populate, METH_O, populate_doc},
    {"discard", discard, METH_O, discard_doc},
    {NULL, NULL, 0, NULL},
};

int flor_add_stage(PyObject *module)
{
    return PyModule_AddFunctions(module, methods);
}
