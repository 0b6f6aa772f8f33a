/* sample_widths(), sample_difference(), split_planes() and join_planes(). */
#include "planes.h"

#include "planework.h"

/* Below this many bytes, letting another thread run costs more than it gives. */
#define RELEASE_FROM 65536

static PyObject *sample_widths(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer view;
    FlorCounts counts;
    double full;
    if (!PyArg_ParseTuple(args, "y*d:sample_widths", &view, &full)) {
        return NULL;
    }
    flor_fill_logs();
    flor_sample(&counts, view.buf, (size_t)view.len, NULL, 0);
    PyBuffer_Release(&view);
    return Py_BuildValue("(dddd)", flor_size(&counts, 1, full), flor_size(&counts, 2, full),
        flor_size(&counts, 4, full), flor_size(&counts, 8, full));
}

static int check_width(int width)
{
    if (width != 2 && width != 4 && width != 8) {
        PyErr_Format(PyExc_ValueError, "items of %d bytes have no planes", width);
        return -1;
    }
    return 0;
}

static PyObject *sample_difference(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer data, base;
    int width;
    double full;
    PyObject *size = NULL;
    if (!PyArg_ParseTuple(args, "y*y*id:sample_difference", &data, &base, &width, &full)) {
        return NULL;
    }
    if (data.len != base.len) {
        PyErr_SetString(PyExc_ValueError, "the base has another length");
    }
    else if (check_width(width) == 0) {
        FlorCounts counts;
        flor_fill_logs();
        flor_sample(&counts, data.buf, (size_t)data.len, base.buf, (size_t)width);
        size = PyFloat_FromDouble(flor_size(&counts, (unsigned)width, full));
    }
    PyBuffer_Release(&base);
    PyBuffer_Release(&data);
    return size;
}

static void work_freely(const FlorPlanes *job, FlorCounts *counts)
{
    if (job->items * job->width < RELEASE_FROM) {
        flor_planes_run(job, counts);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    flor_planes_run(job, counts);
    Py_END_ALLOW_THREADS
}

/* Get the buffer of a base, or an empty one for None; 0, or -1 with an exception set. */
static int get_base(PyObject *exporter, Py_buffer *view, Py_ssize_t length)
{
    *view = (Py_buffer){.buf = NULL};
    if (exporter == Py_None) {
        return 0;
    }
    if (PyObject_GetBuffer(exporter, view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    if (view->len != length) {
        PyErr_SetString(PyExc_ValueError, "the base has another length");
        PyBuffer_Release(view);
        return -1;
    }
    return 0;
}

static PyObject *split_into(const Py_buffer *data, int width, const Py_buffer *out,
    const Py_buffer *base)
{
    FlorCounts counts[FLOR_MOST_WIDTH];
    size_t items = (size_t)data->len / (size_t)width;
    if ((size_t)out->len < items * (size_t)width) {
        PyErr_SetString(PyExc_ValueError, "there is no room for the planes");
        return NULL;
    }
    FlorPlanes job = {.whole = data->buf, .base = base->buf, .items = items, .width = (size_t)width};
    for (int k = 0; k < width; k++) {
        job.planes[k] = (uint8_t *)out->buf + (size_t)k * items;
    }
    work_freely(&job, counts);
    flor_fill_logs();
    PyObject *all = PyTuple_New(width);
    for (int k = 0; all != NULL && k < width; k++) {
        PyObject *bits = PyFloat_FromDouble(flor_entropy(&counts[k], 0, 1));
        if (bits == NULL) {
            Py_CLEAR(all);
            break;
        }
        PyTuple_SET_ITEM(all, k, bits);
    }
    return all;
}

static PyObject *split_planes(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer data, out, base;
    PyObject *exporter, *all = NULL;
    int width;
    if (!PyArg_ParseTuple(args, "y*iw*O:split_planes", &data, &width, &out, &exporter)) {
        return NULL;
    }
    if (check_width(width) == 0 && get_base(exporter, &base, data.len) == 0) {
        all = split_into(&data, width, &out, &base);
        if (base.obj != NULL) {
            PyBuffer_Release(&base);
        }
    }
    PyBuffer_Release(&out);
    PyBuffer_Release(&data);
    return all;
}

/* Get the planes, which must fill `out` when they are joined; the number of views taken. */
static int get_planes(PyObject *tuple, Py_buffer *views, FlorPlanes *job, Py_ssize_t length)
{
    Py_ssize_t width = PyTuple_GET_SIZE(tuple);
    job->width = width < FLOR_MOST_WIDTH + 1 ? (size_t)width : 0;
    if (check_width((int)job->width) < 0) {
        return 0;
    }
    job->items = (size_t)length / job->width;
    for (int k = 0; k < (int)width; k++) {
        if (PyObject_GetBuffer(PyTuple_GET_ITEM(tuple, k), &views[k], PyBUF_SIMPLE) < 0) {
            return k;
        }
        job->planes[k] = views[k].buf;
        if ((size_t)views[k].len != job->items || length % width != 0) {
            PyErr_SetString(PyExc_ValueError, "the planes do not make up the whole");
            return k + 1;
        }
    }
    return (int)width;
}

static PyObject *join_planes(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer views[FLOR_MOST_WIDTH], out, base;
    PyObject *tuple, *exporter;
    if (!PyArg_ParseTuple(args, "O!w*O:join_planes", &PyTuple_Type, &tuple, &out, &exporter)) {
        return NULL;
    }
    FlorPlanes job = {.whole = out.buf};
    int taken = get_planes(tuple, views, &job, out.len);
    if (!PyErr_Occurred() && get_base(exporter, &base, out.len) == 0) {
        job.base = base.buf;
        work_freely(&job, NULL);
        if (base.obj != NULL) {
            PyBuffer_Release(&base);
        }
    }
    while (taken > 0) {
        PyBuffer_Release(&views[--taken]);
    }
    PyBuffer_Release(&out);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(sample_widths_doc,
    "sample_widths($module, data, full, /)\n--\n\n"
    "Estimate what share of its bytes data take in planes, coded by how often each byte occurs,\n"
    "for items of 1, 2, 4 and 8 bytes; planes of at least `full` bits per byte count as 8.");

PyDoc_STRVAR(sample_difference_doc,
    "sample_difference($module, data, base, width, full, /)\n--\n\n"
    "Estimate in the same way what the zigzagged difference from a base takes.");

PyDoc_STRVAR(split_planes_doc,
    "split_planes($module, data, width, out, base, /)\n--\n\n"
    "Write the byte planes of data, or of their difference from a base that is not None, to out\n"
    "one after the other; return estimated bits per byte of each.\n\n"
    "Bytes at the end that fill no item are left out.");

PyDoc_STRVAR(join_planes_doc,
    "join_planes($module, planes, out, base, /)\n--\n\n"
    "Write the data that these byte planes are of to out, which they fill.");

static PyMethodDef methods[] = {
    {"sample_widths", sample_widths, METH_VARARGS, sample_widths_doc},
    {"sample_difference", sample_difference, METH_VARARGS, sample_difference_doc},
    {"split_planes", split_planes, METH_VARARGS, split_planes_doc},
    {"join_planes", join_planes, METH_VARARGS, join_planes_doc},
    {NULL, NULL, 0, NULL},
};

int flor_add_planes(PyObject *module)
{
    return PyModule_AddFunctions(module, methods);
}
