// The same picture in each run: after some frames it is written to the file that comes last on the command line.
import QtQuick
import QtQuick.Window

Window {
    id: window
    width: 400
    height: 300
    visible: true
    color: "#203040"
    property int frames: 0
    property bool asked: false
    Item {
        id: scene
        anchors.fill: parent
        Repeater {
            model: 60
            Rectangle {
                required property int index
                x: (index * 37) % 360
                y: (index * 53) % 260
                width: 40
                height: 40
                radius: 8
                rotation: index * 7
                layer.enabled: index % 3 == 0
                gradient: Gradient {
                    GradientStop { position: 0; color: Qt.hsla(index / 60, 0.8, 0.5, 1) }
                    GradientStop { position: 1; color: "black" }
                }
            }
        }
    }
    onFrameSwapped: {
        frames++
        if (frames < 10) window.update()
        else if (!asked) {
            asked = true
            scene.grabToImage(function(result) {
                result.saveToFile(Qt.application.arguments[Qt.application.arguments.length - 1])
                Qt.quit()
            })
        }
    }
}
