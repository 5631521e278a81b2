require "mkmf"

create_makefile "closeness"
