#pragma once
/* csv.h: reads CSV (RFC 4180) from memory, record by record, in place. um_buf_add_csv writes it.
 *
 *     char *at = um_csv_begin(text), *field[UM_CSV_MAX_FIELDS];
 *     int n = um_csv_cut(&at, field);          // the names of columns
 *     while (*at != 0) { n = um_csv_cut(&at, field); ... }
 */

enum { UM_CSV_MAX_FIELDS = 64 };

/* Where the first record begins: behind the byte order mark that spreadsheets put before UTF-8. */
char *um_csv_begin(char *text);
/* Cuts the record at *at (text that ends in a 0 byte) into fields, which are 0-terminated where they stand; *at is behind it afterwards. A line break may be LF or CR LF, and stand inside quotes. Returns the number of fields, an empty
 * line has one; -1: not CSV, or more than UM_CSV_MAX_FIELDS. */
int um_csv_cut(char **at, char *field[UM_CSV_MAX_FIELDS]);
/* Which field is called `name`; -1: none. */
int um_csv_column(char *const *field, int n, const char *name);
