/* Closeness.distance(a, b): the Levenshtein distance of two strings, counted in bytes. */

#include <ruby.h>

static size_t smallest(size_t a, size_t b, size_t c) {
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

static VALUE distance(VALUE self, VALUE a, VALUE b) {
    StringValue(a);
    StringValue(b);
    const char *from = RSTRING_PTR(a), *to = RSTRING_PTR(b);
    size_t rows = (size_t)RSTRING_LEN(a), columns = (size_t)RSTRING_LEN(b);
    VALUE holder;
    size_t *cost = ALLOCV_N(size_t, holder, columns + 1);

    for (size_t column = 0; column <= columns; column++) cost[column] = column;
    for (size_t row = 1; row <= rows; row++) {
        size_t diagonal = cost[0];
        cost[0] = row;
        for (size_t column = 1; column <= columns; column++) {
            size_t above = cost[column];
            size_t changed = diagonal + (from[row - 1] != to[column - 1]);
            cost[column] = smallest(above + 1, cost[column - 1] + 1, changed);
            diagonal = above;
        }
    }
    size_t result = cost[columns];
    ALLOCV_END(holder);
    RB_GC_GUARD(a);
    RB_GC_GUARD(b);
    return SIZET2NUM(result);
}

void Init_closeness(void) {
    VALUE module = rb_define_module("Closeness");
    rb_define_module_function(module, "distance", distance, 2);
}
