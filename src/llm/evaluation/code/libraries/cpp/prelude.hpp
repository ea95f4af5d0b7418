// What every C++ program begins with: the headers of CodeGeeX's harness, and assert. Compiled once, ahead of all programs.
#undef NDEBUG
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <algorithm>
#include <climits>
#include <cstring>
#include <iostream>
#include <map>
#include <string>
#include <vector>
