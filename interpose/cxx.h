/*
 * The C++ operators (cxx.c) at the library's start.
 */
#ifndef MT_CXX_H
#define MT_CXX_H

/* Where the C++ runtime is loaded already: decides how the operators work, which their first call does otherwise.
 */
void mt_cxx_start(void);

#endif
