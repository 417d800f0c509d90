/*
 * VK_EXT_device_memory_report: what the driver itself says of its device
 * memory, also of what no command of the program asked for. Asked for where
 * the driver has it, beside what the program asks for itself. The driver's
 * callback comes on any thread, inside any command.
 */
#ifndef MT_MEMORY_REPORT_H
#define MT_MEMORY_REPORT_H

#include "layer.h"

struct mt_memory_report;

/* A program's VkDeviceCreateInfo with the request in front; lives through vkCreateDevice. */
struct mt_report_request {
    VkDeviceCreateInfo info;
    VkPhysicalDeviceDeviceMemoryReportFeaturesEXT features;
    VkDeviceDeviceMemoryReportCreateInfoEXT create;
    const char **names; /* a longer list of extensions; NULL where the program's own serves */
    size_t names_bytes;
    enum mt_vulkan_report_status status;
    struct mt_memory_report *report; /* NULL: nothing is asked for */
};

/* What to make a device with: the program's info, or the request's own. Calls the driver. */
const VkDeviceCreateInfo *mt_report_prepare(struct mt_report_request *request, const struct mt_instance *instance,
                                            VkPhysicalDevice physical_device, const VkDeviceCreateInfo *info);
/* After vkCreateDevice with the request has failed: the program's own info is to be tried. */
void mt_report_refused(struct mt_report_request *request);
/* After vkCreateDevice: the device is known by its rows now. */
void mt_report_attach(struct mt_report_request *request, struct mt_device *device);
/* When vkDestroyDevice has returned, or no device was made; NULL is allowed. */
void mt_report_end(struct mt_memory_report *report);

#endif
