"""One module per kind of object that the state graph can hold."""
