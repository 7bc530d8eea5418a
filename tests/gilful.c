/* An extension module that does not declare that it can run without the GIL: importing it switches the GIL on. */
#include <Python.h>

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "gilful", NULL, 0, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_gilful(void)
{
    return PyModuleDef_Init(&module);
}
