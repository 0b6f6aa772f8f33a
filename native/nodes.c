/* Making nodes of the state graph. */
#include "nodes.h"

#include <structmember.h> /* after Python.h, which it needs before 3.12 */

static const char *const field_names[FIELDS] = {
    "kind", "type_name", "payload", "children", "names", "leaf",
};

int
flor_find_fields(FlorNodes *nodes, PyObject *type)
{
    for (int i = 0; i < FIELDS; i++) {
        PyObject *slot = PyObject_GetAttrString(type, field_names[i]);
        if (slot == NULL || !Py_IS_TYPE(slot, &PyMemberDescr_Type)) {
            Py_XDECREF(slot);
            PyErr_Format(PyExc_TypeError, "a node has no slot for its %s", field_names[i]);
            return -1;
        }
        nodes->fields[i] = ((PyMemberDescrObject *)slot)->d_member->offset;
        Py_DECREF(slot);
    }
    nodes->type = (PyTypeObject *)type;
    return 0;
}

PyObject *
flor_make_node(const FlorNodes *nodes, PyObject *fields[FIELDS])
{
    PyTypeObject *type = nodes->type;
    PyObject *node = NULL;
    int complete = 1;
    for (int i = 0; i < FIELDS; i++) {
        complete = complete && fields[i] != NULL;
    }
    if (complete && (node = type->tp_alloc(type, 0)) != NULL) {
        for (int i = 0; i < FIELDS; i++) {
            *(PyObject **)((char *)node + nodes->fields[i]) = fields[i];
        }
        return node;
    }
    for (int i = 0; i < FIELDS; i++) {
        Py_XDECREF(fields[i]);
    }
    return NULL;
}

PyObject *
flor_node_field(const FlorNodes *nodes, PyObject *node, int field)
{
    return Py_IS_TYPE(node, nodes->type) ? *(PyObject **)((char *)node + nodes->fields[field])
                                         : NULL;
}
