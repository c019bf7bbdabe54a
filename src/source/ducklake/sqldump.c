#include "source/ducklake/sqldump.h"
