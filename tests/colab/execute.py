"""Execute a notebook with the Python that runs this file: ``python execute.py NOTEBOOK EXECUTED FOLDER``.

The kernel starts in FOLDER. A cell that raises ends the script with its traceback.
"""

import sys

import nbclient
import nbformat

TIMEOUT = 600  # seconds a single cell may take


def execute(source, target, folder):
    """Execute one notebook and write it with its outputs.

    Parameters
    ----------
    source, target, folder : str
        The notebook, where to write it, and the kernel's working directory.
    """
    notebook = nbformat.read(source, as_version=4)
    resources = {"metadata": {"path": folder}}
    nbclient.NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", resources=resources).execute()
    nbformat.write(notebook, target)


if __name__ == "__main__":
    execute(*sys.argv[1:])
