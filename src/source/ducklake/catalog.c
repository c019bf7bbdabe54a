#include "source/ducklake/catalog.h"
