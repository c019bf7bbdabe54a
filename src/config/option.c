/* placeholder */
typedef int cb_placeholder;
