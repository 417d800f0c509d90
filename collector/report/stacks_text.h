/*
 * The text form of what a report says about call stacks and modules. Reads the
 * document alone.
 */
#ifndef MT_STACKS_TEXT_H
#define MT_STACKS_TEXT_H

#include <jansson.h>
#include <stdio.h>

/* Prints the sections about stacks, modules, leaks and lifetimes, `rows` rows each; nothing where stacks were off.
 */
void mt_stacks_text(FILE *out, const json_t *report, size_t rows);

#endif
